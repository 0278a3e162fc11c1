/** Every system of the paper against the reference, through the public API: exact and fast, quantised, and out of every container. */
import path from 'node:path'
import { convert, DiffusionPipeline, type LoadOptions, type ModelSource } from '../../lib/index'
import { loadCase } from '../helpers/golden'
import { goldenModel, type GoldenModel } from '../helpers/model'
import { beyond, measureParts, measureSystem, systems, type Distances, type System } from '../helpers/systems'

let model: GoldenModel | undefined
afterEach(() => {
  model?.remove()
  model = undefined
})

type Measure = (pipe: DiffusionPipeline, system: System) => Promise<Distances>

async function measured(source: ModelSource, system: System, options: LoadOptions, measure: Measure = measureParts): Promise<Distances> {
  await using pipe = await DiffusionPipeline.load(source, { device: 'cpu', ...options })
  expect([pipe.kind, pipe.info.kind]).toEqual([system.kind, system.kind])
  const distances = await measure(pipe, system)
  expect(Object.keys(distances)).toEqual(expect.arrayContaining([system.prediction ?? 'eps', 'image_out']))
  return distances
}

/** Stated distances, as shares of the greatest value: 16-bit arithmetic in `fast` (1.4 % measured), and 8-bit weights on top in q8_0 (3.0 %). */
const fastShare = 0.02
const q8Share = 0.05

describe.each(systems.map((system) => [system.name, system] as const))('%s', (name, system) => {
  test('exact: conditioner, U-Net, every step and the image are within the tolerance of the case', async () => {
    model = goldenModel(name)
    const distances = await measured(model.file, system, { precision: 'exact', config: model.golden.config }, measureSystem)
    expect(beyond(distances, ({ atol }) => atol)).toEqual([])
  })

  test('fast: within a stated distance', async () => {
    model = goldenModel(name)
    const distances = await measured(model.file, system, { precision: 'fast', config: model.golden.config })
    expect(beyond(distances, ({ max }) => max * fastShare)).toEqual([])
  })

  test.each(['safetensors', 'legacy'] as const)('%s: the same numbers', async (as) => {
    model = goldenModel(name, 'compvis', { as })
    const distances = await measured(model.file, system, { precision: 'exact', config: model.golden.config })
    expect(beyond(distances, ({ atol }) => atol)).toEqual([])
  })

  // The folder of ldm-uncond holds other weights than its file: systems-special.
  const folders = Object.keys(loadCase(name).layouts).filter((layout) => layout !== 'compvis' && name !== 'ldm-uncond')
  for (const layout of folders) {
    test(`${layout} folder: the same numbers`, async () => {
      model = goldenModel(name, layout)
      const distances = await measured(model.folder, system, { precision: 'exact' })
      expect(beyond(distances, ({ atol }) => atol)).toEqual([])
    })
  }

  test('GGUF after convert(): the same numbers, and q8_0 within a stated distance; it needs no configuration', async () => {
    model = goldenModel(name)
    for (const [type, precision, bound] of [
      ['f32', 'exact', ({ atol }: { atol: number }) => atol],
      ['q8_0', 'fast', ({ max }: { max: number }) => max * q8Share],
    ] as const) {
      const file = path.join(model.folder, `${type}.gguf`)
      await convert(model.file, file, { type, config: model.golden.config })
      expect(beyond(await measured(file, system, { precision }), bound)).toEqual([])
    }
  })
})
