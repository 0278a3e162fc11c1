/** Stable Diffusion 1.x against the reference, stage by stage, through the public API in exact precision. */
import { createSolver, DiffusionPipeline, type Conditioning } from '../../lib/index'
import { input, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, row, times, toConditioning, toLatents, type GoldenModel } from '../helpers/model'

const expected = loadExpected('sd1')
let model: GoldenModel
let pipe: DiffusionPipeline
const scale = 0.18215

const inputs = (name: string) => input(model.golden, name)
const atol = (name: string) => model.golden.expected[name]!.atol

function expectClose(actual: Float32Array, name: string, reference = expected[name]!.data): void {
  expect(maxDifference(actual, reference)).toBeLessThanOrEqual(atol(name))
}

async function context(i: number, options = {}): Promise<Conditioning> {
  return pipe.encodePrompt({ tokenIds: Array.from(row(inputs('ids'), i).data) }, options)
}

beforeAll(async () => {
  model = goldenModel('sd1')
  pipe = await DiffusionPipeline.load(model.file, { config: model.golden.config, precision: 'exact', device: 'cpu' })
})
afterAll(async () => {
  await pipe?.dispose()
  model.remove()
})

test.each([0, 1])('text encoder, row %i', async (i) => {
  const conditioning = await context(i)
  expect(conditioning.shape).toEqual([1, 77, 32])
  expectClose(await conditioning.read(), 'text_context', row(expected.text_context!, i).data)
})

test.each([0, 1])('clip skip 2, row %i', async (i) => {
  expectClose(await (await context(i, { clipSkip: 2 })).read(), 'text_context_skip2', row(expected.text_context_skip2!, i).data)
})

test.each([0, 1])('U-Net at a fractional timestep, row %i', async (i) => {
  const timestep = inputs('t').data[i]!
  const out = await pipe.predict(await toLatents(row(inputs('x'), i)), { timestep, conditioning: await toConditioning(row(inputs('context'), i)) })
  expectClose(await out.read(), 'eps', row(expected.eps!, i).data)
})

test('U-Net on a batch, one timestep per row', async () => {
  const timestep = Array.from(inputs('t_int').data)
  const out = await pipe.predict(await toLatents(inputs('x')), { timestep, conditioning: await context(0) })
  expect(out.shape).toEqual([2, 4, 8, 16])
  expectClose(await out.read(), 'eps_text')
})

test('first stage encoder', async () => {
  const { data, shape } = inputs('image')
  expectClose(await (await pipe.encodeImage({ data, shape }, { mode: 'moments' })).read(), 'moments')
})

test('the posterior mean is multiplied by the scale factor', async () => {
  const { data, shape } = inputs('image')
  const mean = await (await pipe.encodeImage({ data, shape }, { mode: 'mean' })).read()
  const moments = expected.moments!
  const half = moments.data.filter((_, i) => Math.floor(i / 128) % 8 < 4)
  expect(
    maxDifference(
      mean,
      half.map((x) => x * scale),
    ),
  ).toBeLessThanOrEqual(atol('moments') * scale)
})

test('first stage decoder', async () => {
  const out = await pipe.decode(await toLatents(times(inputs('z'), scale)), { output: 'float' })
  expectClose(strided(out, [2, 3, 64, 128], 2), 'decoded')
})

test('the first stage alone works on unscaled latents', async () => {
  const out = await pipe.firstStage.decode(await toLatents(inputs('z')), { output: 'float' })
  expectClose(strided(out, [2, 3, 64, 128], 2), 'decoded')
})

test('five DDIM steps with guidance, and the image', async () => {
  const steps: Float32Array[] = []
  const options = { conditioning: await context(0), unconditional: await context(1), latents: await toLatents(inputs('x_T')) }
  for await (const step of pipe.sample({ ...options, steps: 5, sampler: 'ddim', eta: 0, guidanceScale: 7.5 })) {
    steps.push(await step.latents.read())
    expect(step.index).toBe(steps.length - 1)
    if (step.index === 4) {
      const out = await pipe.decode(step.latents, { output: 'float' })
      expectClose(strided(out, [2, 3, 64, 128], 2), 'ddim5_image')
    }
  }
  expect(steps).toHaveLength(5)
  steps.forEach((latents, i) => expectClose(latents, 'ddim5', row(expected.ddim5!, i).data))
})

test('the same five steps with predict() and createSolver()', async () => {
  const solver = createSolver({ sampler: 'ddim', steps: 5, eta: 0, spec: pipe.info.spec })
  expect(solver.timesteps).toEqual([801, 601, 401, 201, 1])
  const options = { conditioning: await context(0), unconditional: await context(1), guidanceScale: 7.5 }
  const x = await toLatents(times(inputs('x_T'), solver.initNoiseSigma))
  for (const [i, timestep] of solver.timesteps.entries()) {
    const output = await pipe.predict(await solver.scaleInput(x, i), { timestep, ...options })
    await solver.step(output, x, i)
    expectClose(await x.read(), 'ddim5', row(expected.ddim5!, i).data)
  }
})
