/** Presets of few-step models: the runs of their authors' schedulers, what overrides them, and where they are reported. */
import { createSolver, DiffusionPipeline, type Solver } from 'node-latent-diffusion'
import { presetNames, presets, withPreset } from '../../lib/options/presets'
import type { PresetName } from '../../lib/types'
import { cleanOf, distance, formula, latentSize, procedure, trajectories } from '../helpers/mixture'

const { cases } = procedure('fewstep')
const expected = trajectories('fewstep')
const runs: [PresetName, number | undefined, string][] = [
  ['turbo', undefined, 'turbo_1'],
  ['turbo', 4, 'turbo_4'],
  ['lightning-1', undefined, 'lightning_1_x0'],
  ['lightning-2', undefined, 'lightning_2'],
  ['lightning-4', undefined, 'lightning_4'],
  ['lightning-8', undefined, 'lightning_8'],
  ['hyper-sd', 2, 'hyper_ddim_2'],
  ['hyper-sd', undefined, 'hyper_ddim_4'],
  ['hyper-sd', 8, 'hyper_ddim_8'],
  ['hyper-sd-unified', undefined, 'tcd_1_eta1'],
  ['hyper-sdxl-1', undefined, 'hyper_1'],
  ['tcd', undefined, 'tcd_4'],
  ['tcd', 8, 'tcd_8'],
  ['dmd2', undefined, 'dmd2_4'],
  ['dmd2-1', undefined, 'dmd2_1'],
  ['pcm', undefined, 'pcm_ddim_4'],
  ['pcm', 8, 'pcm_ddim_8'],
  ['sdxs', undefined, 'sdxs'],
]

function solverOf(name: PresetName, steps: number | undefined): Solver {
  const { guidanceScale, ...options } = withPreset(name, { steps }, undefined)
  expect(guidanceScale).toBe(1)
  return createSolver({ ...options, sampler: presets[name].sampler!, ...(presets[name].prediction ? { prediction: presets[name].prediction } : {}) })
}

test.each(runs)('%s, steps %s: %s', async (name, steps, id) => {
  const entry = cases.find((one: any) => one.id === id)
  const solver = solverOf(name, steps)
  solver.timesteps.forEach((t, i) => expect(t).toBeCloseTo(entry.timesteps[i], 3))
  const x = formula('input:x_T').map((v) => v * solver.initNoiseSigma)
  expect(solver.evaluations).toHaveLength(entry.timesteps.length)
  for (let i = 0; i < solver.evaluations.length; i++) {
    const { sigma } = solver.evaluations[i]!
    const a = 1 / Math.sqrt(1 + sigma * sigma)
    const input = await solver.scaleInput(x, i)
    const clean = cleanOf(input, a, sigma * a)
    const output = entry.prediction === 'sample' ? Float32Array.from(clean) : input.map((v, j) => (v - a * clean[j]!) / (sigma * a))
    await solver.step(output, x, i, entry.injected_noises ? formula(`noise:${i}`) : undefined)
    expect(distance(x, expected[id]!.data, i * latentSize)).toBeLessThanOrEqual(entry.tolerance)
  }
})

test('every preset creates a solver; lcm runs on its own timesteps', () => {
  for (const name of presetNames) expect(solverOf(name, undefined).evaluations.length).toBeGreaterThan(0)
  solverOf('lcm', undefined).timesteps.forEach((t, i) => expect(t).toBeCloseTo([999, 759, 499, 259][i]!, 3))
})

describe('in generate()', () => {
  let pipe: DiffusionPipeline
  beforeAll(async () => {
    pipe = await DiffusionPipeline.load(undefined, { device: 'cpu' })
  })
  afterAll(() => pipe.dispose())
  const options = { prompt: 'a red circle', width: 64, height: 64, seed: 1 } as const

  test('equals its options, and is reported', async () => {
    const named = await pipe.generate({ ...options, preset: 'lightning-4' })
    const written = await pipe.generate({ ...options, sampler: 'euler', schedule: 'trailing', steps: 4, guidanceScale: 1 })
    expect(named.images[0]!.data).toEqual(written.images[0]!.data)
    expect(named.options).toMatchObject({ preset: 'lightning-4', sampler: 'euler', schedule: 'trailing', steps: 4, guidanceScale: 1 })
    expect(named.images[0]!.metadata.parameters).toMatch(/Steps: 4, Sampler: Euler, .*CFG scale: 1,.*Preset: lightning-4/)
  })

  test('given options override those of the preset', async () => {
    const { options: made } = await pipe.generate({ ...options, preset: 'dmd2', timesteps: [999, 499], guidanceScale: 2 })
    expect(made).toMatchObject({ sampler: 'lcm', timesteps: [999, 499], steps: 2, guidanceScale: 2 })
    const other = await pipe.generate({ ...options, preset: 'pcm', sampler: 'euler', steps: 2 })
    expect(other.options).toMatchObject({ sampler: 'euler', schedule: 'trailing', steps: 2 })
    expect(other.options.extra).toBeUndefined()
  })

  test('a schedule given by name leaves the number of steps to the preset', async () => {
    const { options: turbo } = await pipe.generate({ ...options, preset: 'turbo', schedule: 'karras' })
    expect(turbo).toMatchObject({ sampler: 'euler_a', schedule: 'karras', steps: 1 })
    const { options: dmd2 } = await pipe.generate({ ...options, preset: 'dmd2', schedule: 'trailing' })
    expect(dmd2).toMatchObject({ sampler: 'lcm', schedule: 'trailing', steps: 4 })
    expect(dmd2).not.toHaveProperty('timesteps')
    expect((await pipe.generate({ ...options, preset: 'turbo', schedule: 'karras', steps: 2 })).options.steps).toBe(2)
    const levels = await pipe.generate({ ...options, preset: 'turbo', schedule: new Float32Array([10, 2, 0]) })
    expect(levels.options.steps).toBe(2)
  })

  test('a model with its own schedule or timesteps uses them with its own sampler', async () => {
    const few = { sampler: 'lcm', samplingTimesteps: [999, 499], steps: 2, guidanceScale: 1 }
    await using own = await DiffusionPipeline.load(undefined, { device: 'cpu', spec: few })
    expect(own.info.defaults).toMatchObject({ sampler: 'lcm', timesteps: [999, 499], steps: 2, guidanceScale: 1 })
    const { images, options: made } = await own.generate(options)
    const written = await pipe.generate({ ...options, sampler: 'lcm', timesteps: [999, 499], guidanceScale: 1 })
    expect(images[0]!.data).toEqual(written.images[0]!.data)
    expect(made).toMatchObject({ sampler: 'lcm', timesteps: [999, 499], steps: 2 })
    expect(made).not.toHaveProperty('schedule')
    expect(images[0]!.metadata.parameters).toMatch(/Steps: 2, Sampler: LCM, .*CFG scale: 1,.*Timesteps: 999 499/)
    expect((await own.generate({ ...options, steps: 3 })).options).toMatchObject({ sampler: 'lcm', schedule: 'leading', steps: 3 })
    expect((await own.generate({ ...options, sampler: 'euler', steps: 1 })).options).not.toHaveProperty('timesteps')
    expect((await own.generate({ ...options, preset: 'lcm' })).options).toMatchObject({ schedule: 'leading', steps: 4 })

    await using trailing = await DiffusionPipeline.load(undefined, {
      device: 'cpu',
      spec: { sampler: 'euler', samplingSchedule: 'trailing', steps: 2 },
    })
    expect((await trailing.generate(options)).options).toMatchObject({ sampler: 'euler', schedule: 'trailing', steps: 2 })
    expect((await trailing.generate({ ...options, sampler: 'dpmpp_2m' })).options.schedule).not.toBe('trailing')
    expect((await trailing.generate({ ...options, schedule: 'karras' })).options.schedule).toBe('karras')
  })

  test.each([
    [{ samplingSchedule: 'stairs' }, /"samplingSchedule" cannot be used: .*stairs/],
    [{ samplingTimesteps: [5000] }, /"samplingTimesteps" cannot be used/],
    [{ samplingTimesteps: [3, 9] }, /"samplingTimesteps" cannot be used/],
  ])('a model cannot have unusable defaults: %j', async (spec, message) => {
    await expect(DiffusionPipeline.load(undefined, { device: 'cpu', spec })).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: expect.stringMatching(message),
    })
  })

  test('options that contradict a preset are rejected', async () => {
    await expect(pipe.generate({ ...options, preset: 'lightening' as never })).rejects.toThrow(/preset/)
    await expect(pipe.generate({ ...options, preset: 'dmd2', steps: 8 })).rejects.toThrow(/the preset 'dmd2' has the timesteps 999, 749, 499, 249/)
    await expect(pipe.generate({ ...options, preset: 'lightning-1' })).rejects.toThrow(/prediction: 'sample'/)
    await expect(pipe.generate({ ...options, timesteps: [1000] })).rejects.toThrow('lie in 0..999; timesteps[0] is 1000')
    await expect(pipe.generate({ ...options, preset: 'lcm', steps: 51 })).rejects.toThrow(/50 grid points for strength 1,/)
  })
})
