/** The same weights through every container and layout give the same numbers; quantised ones stay within their own stated distance. */
import path from 'node:path'
import { convert, DiffusionPipeline, type LoadOptions, type ModelSource, type WeightType } from '../../lib/index'
import { input, loadCase, loadExpected, materialise, maxDifference, strided, temporaryFolder } from '../helpers/golden'
import { row, times, toConditioning, toLatents } from '../helpers/model'

const golden = loadCase('sd1')
const expected = loadExpected('sd1')
const atol = (name: string) => golden.expected[name]!.atol
const { folder, remove } = temporaryFolder()
const at = (...parts: string[]) => path.join(folder, ...parts)
const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const withConfig: LoadOptions = { ...exact, config: golden.config }

beforeAll(() => {
  materialise(golden, 'compvis', at('compvis'))
  materialise(golden, 'merged', at('merged'))
  materialise(golden, 'merged', at('pickle'), { as: 'ckpt' })
  materialise(golden, 'compvis', at('half'), { half: true })
  materialise(golden, 'diffusers', at('diffusers'))
  materialise(golden, 'diffusers', at('unprefixed'))
  materialise(golden, 'text-encoder-unprefixed', at('unprefixed'))
})
afterAll(remove)

interface Distances {
  text: number
  eps: number
  decoded: number
}

async function distances(pipe: DiffusionPipeline, epsName = 'eps'): Promise<Distances> {
  const ids = Array.from(row(input(golden, 'ids'), 0).data)
  const text = await (await pipe.encodePrompt({ tokenIds: ids })).read()
  const eps = await pipe.predict(await toLatents(row(input(golden, 'x'), 1)), {
    timestep: 321.75,
    conditioning: await toConditioning(row(input(golden, 'context'), 1)),
  })
  const decoded = await pipe.decode(await toLatents(times(row(input(golden, 'z'), 0), 0.18215)), { output: 'float' })
  return {
    text: maxDifference(text, row(expected.text_context!, 0).data),
    eps: maxDifference(await eps.read(), row(expected[epsName]!, 1).data),
    decoded: maxDifference(strided(decoded, [1, 3, 64, 128], 2), row(expected.decoded!, 0).data),
  }
}

async function measure(source: ModelSource, options: LoadOptions, epsName?: string): Promise<Distances> {
  await using pipe = await DiffusionPipeline.load(source, options)
  return await distances(pipe, epsName)
}

function expectWithin(actual: Distances, bounds: Distances): void {
  for (const key of Object.keys(bounds) as (keyof Distances)[])
    expect({ [key]: actual[key] <= bounds[key] ? 'within' : actual[key] }).toEqual({ [key]: 'within' })
}

const tight: Distances = { text: atol('text_context'), eps: atol('eps'), decoded: atol('decoded') }

test.each<[string, () => ModelSource, LoadOptions]>([
  ['safetensors, names of the public files', () => at('compvis', 'model.safetensors'), withConfig],
  ['safetensors, names without text_model', () => at('merged', 'model.safetensors'), withConfig],
  ['.ckpt (pickle in a zip)', () => at('pickle', 'model.ckpt'), withConfig],
  ['diffusers folder', () => at('diffusers'), exact],
  ['diffusers folder, text encoder as transformers 5 saves it', () => at('unprefixed'), exact],
])('%s', async (_name, source, options) => {
  expectWithin(await measure(source(), options), tight)
})

test('a file of half floats, computed in float32', async () => {
  const measured = await measure(at('half', 'model.safetensors'), withConfig, 'eps_f16_weights')
  expectWithin(measured, { eps: atol('eps_f16_weights'), text: 5e-3, decoded: 5e-3 })
})

// Stated distances of converted files from the float32 reference; max |expected| is 2.9 (text), 2.4 (eps) and 3.3 (decoded).
test.each<[WeightType, Distances]>([
  ['f32', tight],
  ['f16', { text: 5e-3, eps: 5e-3, decoded: 5e-3 }],
  ['q8_0', { text: 0.05, eps: 0.1, decoded: 0.1 }],
])('GGUF %s after convert()', async (type, bounds) => {
  const file = at(`${type}.gguf`)
  const report = await convert(at('compvis', 'model.safetensors'), file, { type, config: golden.config })
  expect(report.tensors).toBeGreaterThan(900)
  expectWithin(await measure(file, exact), bounds)
})

test('a diffusers folder converts to the same GGUF numbers', async () => {
  await convert(at('diffusers'), at('from-diffusers.gguf'), { type: 'f32' })
  expectWithin(await measure(at('from-diffusers.gguf'), exact), tight)
})
