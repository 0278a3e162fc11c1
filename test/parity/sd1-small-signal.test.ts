/** A residual stream so small that every wrong normalisation epsilon shows. The checkpoint is a pickle in a zip. */
import { DiffusionPipeline } from '../../lib/index'
import { input, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, row, times, toConditioning, toLatents, type GoldenModel } from '../helpers/model'

const expected = loadExpected('sd1-small-signal')
let model: GoldenModel
let pipe: DiffusionPipeline

const inputs = (name: string) => input(model.golden, name)
const close = (actual: Float32Array, name: string, reference = expected[name]!.data) =>
  expect(maxDifference(actual, reference)).toBeLessThanOrEqual(model.golden.expected[name]!.atol)

beforeAll(async () => {
  model = goldenModel('sd1-small-signal')
  pipe = await DiffusionPipeline.load(model.file, { config: model.golden.config, precision: 'exact', device: 'cpu' })
})
afterAll(async () => {
  await pipe?.dispose()
  model.remove()
})

test('the file is a .ckpt', () => expect(model.file).toMatch(/\.ckpt$/))

test.each([0, 1])('text encoder, row %i', async (i) => {
  const conditioning = await pipe.encodePrompt({ tokenIds: Array.from(row(inputs('ids'), i).data) })
  close(await conditioning.read(), 'text_context', row(expected.text_context!, i).data)
})

test('U-Net', async () => {
  const conditioning = await toConditioning(row(expected.text_context!, 0))
  close(await (await pipe.predict(await toLatents(inputs('x')), { timestep: inputs('t').data[0]!, conditioning })).read(), 'eps')
})

test('first stage encoder', async () => {
  close(await (await pipe.encodeImage(inputs('image'), { mode: 'moments' })).read(), 'moments')
})

test('first stage decoder', async () => {
  const out = await pipe.decode(await toLatents(times(inputs('x'), 0.18215)), { output: 'float' })
  close(strided(out, [1, 3, 64, 64], 2), 'decoded')
})
