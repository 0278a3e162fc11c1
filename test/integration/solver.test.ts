/** Solvers on their own through the public API: every dialect, churn, adaptive steps, few steps, parts of a schedule, against reference numbers. */
import { createRandom, createSolver, DiffusionPipeline, Latents, type SampleOptions, type Solver, type SolverOptions } from 'node-latent-diffusion'
import { cleanOf, distance, formula, latentSize, procedure, trajectories } from '../helpers/mixture'

const scaled = (x: Float32Array, factor: number) => x.map((v) => v * factor)
const noise = (k: number) => formula(`noise:${k}`)

/** A run in sigma space on the network that gives x0. `points` has the state before every step (with its churn noise) and the end. */
async function runInSigmaSpace(solver: Solver, draws: boolean): Promise<Float32Array[]> {
  const points: Float32Array[] = []
  const x = scaled(formula('input:x_T'), solver.initNoiseSigma)
  let drawn = 0
  for (let i = 0; i < solver.evaluations.length; i++) {
    const { sigma, step } = solver.evaluations[i]!
    const own = draws ? noise(drawn) : undefined
    const root = Math.sqrt(sigma * sigma + 1)
    const at = (await solver.scaleInput(x, i, own)).map((v) => v * root)
    if (i === 0 || solver.evaluations[i - 1]!.step !== step) {
      points.push(at)
      if (draws) drawn++
    }
    await solver.step(Float32Array.from(cleanOf(at, 1, sigma)), x, i, own)
  }
  return [...points, x]
}

describe('dialect of k-diffusion', () => {
  const names: Record<string, string> = {
    k_euler_karras: 'euler',
    k_heun_karras: 'heun',
    k_dpm_2_karras: 'dpm2',
    k_dpmpp_2m_karras: 'dpmpp_2m',
    k_euler_churn: 'euler',
    k_heun_churn: 'heun',
    k_dpm_2_churn: 'dpm2',
  }
  const { cases } = procedure('samplers_k')
  const expected = trajectories('samplers_k')

  test.each(Object.entries(names))('%s', async (id, sampler) => {
    const entry = cases.find((one: any) => one.id === id)
    const solver = createSolver({ sampler, dialect: 'k', schedule: 'karras', steps: entry.steps, prediction: 'sample', extra: entry.args })
    const points = await runInSigmaSpace(solver, entry.injected_noises > 0)
    expect(points).toHaveLength(entry.points)
    points.forEach((point, i) => expect(distance(point, expected[id]!.data, i * latentSize)).toBeLessThanOrEqual(entry.tolerance))
  })

  test('dpm_adaptive chooses its own steps', async () => {
    const entry = cases.find((one: any) => one.id === 'k_dpm_adaptive_order2')
    const solver = createSolver({ sampler: 'dpm_adaptive', dialect: 'k', prediction: 'sample', extra: entry.args })
    expect(solver.adaptive).toBe(true)
    expect(solver.evaluations).toHaveLength(2)
    const end = (await runInSigmaSpace(solver, false)).at(-1)!
    expect(solver.evaluations).toHaveLength(entry.info.nfe)
    expect(solver.evaluations.at(-1)!.step).toBe(entry.info.steps - 1)
    expect(solver.sigmas).toHaveLength(entry.info.steps + 1)
    expect(distance(end, expected[entry.id]!.data, (entry.points - 1) * latentSize)).toBeLessThanOrEqual(entry.tolerance)
  })
})

describe('dialect of diffusers', () => {
  const { cases } = procedure('samplers_diffusers')
  const expected = trajectories('samplers_diffusers')

  /** Runs with network(x, i) and compares x after every step. */
  async function check(id: string, solver: Solver, network: (input: Float32Array, x: Float32Array, i: number) => ArrayLike<number>) {
    const entry = cases.find((one: any) => one.id === id)
    solver.timesteps.forEach((t, i) => expect(t).toBeCloseTo(entry.timesteps[i], 5))
    const x = scaled(formula('input:x_T'), solver.initNoiseSigma)
    for (let i = 0; i < solver.evaluations.length; i++) {
      const input = await solver.scaleInput(x, i)
      await solver.step(Float32Array.from(network(input, x, i)), x, i, entry.injected_noises ? noise(i) : undefined)
      expect(distance(x, expected[id]!.data, (i + 1) * latentSize)).toBeLessThanOrEqual(entry.tolerance)
    }
  }

  /** eps of a state x = a x0 + b noise. */
  const eps = (x: Float32Array, sigma: number) => {
    const a = 1 / Math.sqrt(1 + sigma * sigma)
    const clean = cleanOf(x, a, sigma * a)
    return x.map((v, j) => (v - a * clean[j]!) / (sigma * a))
  }

  test('sasolver', async () => {
    const solver = createSolver({ sampler: 'sa_solver', dialect: 'diffusers', steps: 10, extra: { steps_offset: 0 } })
    await check('sasolver', solver, (input, _x, i) => eps(input, solver.evaluations[i]!.sigma))
  })

  test('a list in extra', async () => {
    const extra = { steps_offset: 0, disable_corrector: [0, 1, 2] }
    const solver = createSolver({ sampler: 'unipc', dialect: 'diffusers', steps: 10, extra })
    await check('unipc_disable_corrector', solver, (input, _x, i) => eps(input, solver.evaluations[i]!.sigma))
  })

  test.each<[string, SolverOptions]>([
    ['edm_euler', { sampler: 'euler' }],
    ['edm_euler_exponential', { sampler: 'euler', schedule: 'exponential' }],
    ['edm_dpmpp_2m', { sampler: 'dpmpp_2m' }],
  ])('%s', async (id, options) => {
    const solver = createSolver({ ...options, dialect: 'diffusers', steps: 10, prediction: 'edm' })
    await check(id, solver, (_input, x, i) => {
      const { sigma } = solver.evaluations[i]!
      const square = sigma * sigma + 0.25
      const clean = cleanOf(x, 1, sigma)
      return x.map((v, j) => (clean[j]! - (0.25 / square) * v) / ((sigma * 0.5) / Math.sqrt(square)))
    })
  })
})

describe('few steps', () => {
  const expected = trajectories('fewstep')
  test.each(procedure('fewstep').cases.filter((one: any) => /^(dmd2|hyper_1|tcd_4|tcd_1)/.test(one.id)) as any[])('$id', async (entry: any) => {
    const sampler = entry.class === 'LCMScheduler' ? 'lcm' : 'tcd'
    const solver = createSolver({ sampler, timesteps: entry.timesteps, ...(entry.step_args ? { eta: entry.step_args.eta } : {}) })
    expect(solver.timesteps).toEqual(entry.timesteps)
    const x = formula('input:x_T')
    for (let i = 0; i < entry.timesteps.length; i++) {
      const { sigma } = solver.evaluations[i]!
      const a = 1 / Math.sqrt(1 + sigma * sigma)
      const clean = cleanOf(x, a, sigma * a)
      await solver.step(
        x.map((v, j) => (v - a * clean[j]!) / (sigma * a)),
        x,
        i,
        noise(i),
      )
      expect(distance(x, expected[entry.id]!.data, i * latentSize)).toBeLessThanOrEqual(entry.tolerance)
    }
  })

  test.each<[object, RegExp]>([
    [{ sampler: 'lcm', timesteps: [] }, /timesteps must have 1 to 1000/],
    [{ sampler: 'lcm', timesteps: [500, 500] }, /timesteps must descend/],
    [{ sampler: 'lcm', timesteps: [1000] }, /timesteps/],
    [{ sampler: 'lcm', timesteps: [999], schedule: 'trailing' }, /timesteps and schedule cannot be combined/],
    [{ sampler: 'lcm', timesteps: [999, 499], steps: 3 }, /does not match/],
    [{ sampler: 'euler', timesteps: 'all' }, /timesteps must be an array/],
    [{ sampler: 'euler', dialect: 'web' }, /dialect/],
    [{ sampler: 'unipc', dialect: 'k' }, /dialect/],
    [{ sampler: 'ddim', prediction: 'edm' }, /EDM/],
    [{ sampler: 'unipc', extra: { disable_corrector: ['0'] } }, /extra\.disable_corrector/],
    [{ sampler: 'euler', denoisingStart: 0.8, denoisingEnd: 0.8 }, /denoisingStart/],
    [{ sampler: 'euler', denoisingEnd: 0.8, strength: 0.5 }, /denoisingEnd/],
  ])('%j is refused', (options, message) => {
    expect(() => createSolver(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) }),
    )
  })
})

test('two runs can split one schedule', () => {
  const options = { sampler: 'euler', schedule: 'trailing', steps: 8 } as const
  const base = createSolver({ ...options, denoisingEnd: 0.8 })
  const refiner = createSolver({ ...options, denoisingStart: 0.8 })
  expect(base.timesteps).toEqual([999, 874, 749, 624, 499, 374, 249])
  expect(refiner.timesteps).toEqual([124])
  expect(base.sigmas.at(-1)).toBe(refiner.sigmas[0])
})

describe('sample()', () => {
  let pipe: DiffusionPipeline
  beforeAll(async () => {
    pipe = await DiffusionPipeline.load(undefined, { precision: 'exact' })
  })
  afterAll(() => pipe.dispose())

  async function end(options: SampleOptions): Promise<Float32Array> {
    const run = pipe.sample({ width: 32, height: 32, sampler: 'euler', schedule: 'trailing', guidanceScale: 1, seed: 3, ...options })
    for (let step = await run.next(); ; step = await run.next()) if (step.done) return step.value.read()
  }

  test('two parts of a schedule equal the whole run bit for bit', async () => {
    const conditioning = await pipe.encodePrompt('a red circle')
    const whole = await end({ conditioning, steps: 5 })
    const first = await end({ conditioning, steps: 5, denoisingEnd: 0.6 })
    const { shape } = await pipe.createLatents({ width: 32, height: 32, seed: 3 })
    expect(
      await end({ conditioning, steps: 5, denoisingStart: 0.6, latents: await Latents.from(first, shape), width: undefined, height: undefined }),
    ).toEqual(whole)
    expect(first).not.toEqual(whole)
  })

  test('timesteps and dialect take effect', async () => {
    const conditioning = await pipe.encodePrompt('a red circle')
    const dialect = 'diffusers'
    const listed = await end({ conditioning, dialect, schedule: undefined, timesteps: [999, 799, 599, 399, 199] })
    expect(listed).toEqual(await end({ conditioning, dialect, steps: 5 }))
    expect(listed).not.toEqual(await end({ conditioning, dialect, schedule: 'leading', steps: 5 }))
    expect(listed.every(Number.isFinite)).toBe(true)
  })

  test('an adaptive solver ends by itself', async () => {
    const conditioning = await pipe.encodePrompt('a red circle')
    const x = await end({ conditioning, sampler: 'dpm_adaptive', schedule: undefined, extra: { rtol: 0.5, atol: 0.5 } })
    expect(x.every(Number.isFinite)).toBe(true)
  })

  test('parts that cannot run are rejected', async () => {
    await expect(end({ steps: 5, denoisingStart: 0.5 })).rejects.toThrow(/denoisingStart needs latents/)
    const conditioning = await pipe.encodePrompt('a red circle')
    await expect(end({ conditioning, steps: 5, denoisingEnd: 0.0001 })).rejects.toThrow(/denoising_end/)
  })
})

describe('zero terminal SNR', () => {
  test.each(['ddim', 'ddpm', 'euler', 'dpm_solver', 'lcm', 'unipc'])('%s has numbers', (sampler) => {
    for (const schedule of ['trailing', 'karras', 'beta', 'kl_optimal', 'linear_quadratic'])
      for (const steps of [1, 5]) {
        const solver = createSolver({ sampler, schedule, steps, prediction: 'v', noiseSchedule: { zeroTerminalSnr: true } })
        expect(solver.sigmas).toHaveLength(steps + 1)
        for (const sigma of [...solver.sigmas, ...solver.timesteps, solver.initNoiseSigma]) expect(Number.isFinite(sigma)).toBe(true)
      }
  })

  test('samplers that cannot start there are rejected', () => {
    const noiseSchedule = { zeroTerminalSnr: true }
    expect(() => createSolver({ sampler: 'ddim', schedule: 'karras', steps: 1, noiseSchedule })).toThrow(RangeError)
  })
})

describe('churn', () => {
  const extra = { s_churn: 20, s_noise: 1.01 }
  const options = { schedule: 'karras', steps: 6, seed: 5, prediction: 'sample', extra } as const
  const start = () => scaled(formula('input:x_T', 64), 14)
  const network = (input: Float32Array) => input.map((v) => 0.9 * v)

  /** Ends of the same run on arrays and on latents. */
  test.each(['euler', 'heun', 'dpm2'])('%s: latents and arrays take the same way, and scaleInput leaves both as they are', async (sampler) => {
    const [a, b] = [createSolver({ ...options, sampler }), createSolver({ ...options, sampler })]
    const x = start()
    const latents = await Latents.from(start(), [1, 4, 4, 4])
    for (let i = 0; i < a.evaluations.length; i++) {
      const before = Float32Array.from(x)
      const input = await a.scaleInput(x, i)
      expect(x).toEqual(before)
      const same = await b.scaleInput(latents, i)
      expect(await latents.read()).toEqual(before)
      expect(await same.read()).toEqual(input)
      expect(await a.scaleInput(x, i)).toEqual(input) // as often as one likes
      await a.step(network(input), x, i)
      await b.step(network(input), latents, i)
      expect(await latents.read()).toEqual(x)
    }
    expect(x.every(Number.isFinite)).toBe(true)
  })

  test('noise is added to the input and the step', async () => {
    const plain = createSolver({ ...options, sampler: 'euler', extra: {} })
    const churned = createSolver({ ...options, sampler: 'euler' })
    const x = start()
    expect(await churned.scaleInput(x, 0)).not.toEqual(await plain.scaleInput(x, 0))
  })

  test('the caller can replace it in both calls, or in step() only', async () => {
    const [a, b, c, d] = Array.from({ length: 4 }, (_, i) => createSolver({ ...options, sampler: 'euler', seed: i }))
    const own = formula('noise:0', 64)
    const ends = await Promise.all(
      [a!, b!].map(async (solver) => {
        const x = start()
        return solver.step(network(await solver.scaleInput(x, 0, own)), x, 0, own)
      }),
    )
    expect(ends[0]).toEqual(ends[1]) // whatever the seeds
    const output = new Float32Array(64)
    const without = await c!.step(output, start(), 0, own)
    await d!.scaleInput(start(), 0)
    expect(await d!.step(output, start(), 0, own)).toEqual(without)
  })
})

describe('createRandom', () => {
  const file = procedure('rng_torch_cpu')

  test('gives the words, uniform numbers and integers of torch', () => {
    for (const { seed, mt19937_u32: words } of file.raw)
      expect(Array.from(createRandom({ kind: 'words', seed: BigInt(seed), count: words.length }))).toEqual(words)
    for (const { seed, values } of file.rand.filter((one: any) => one.dtype === 'float32'))
      createRandom({ kind: 'uniform', seed: BigInt(seed), count: values.length }).forEach((v, i) => expect(v).toBeCloseTo(values[i], 7))
    for (const { seed, randint_0_1000: integers, randperm_10: permutation } of file.int) {
      expect(Array.from(createRandom({ kind: 'integers', seed: BigInt(seed), count: integers.length, high: 1000 }))).toEqual(integers)
      expect(Array.from(createRandom({ kind: 'permutation', seed: BigInt(seed), count: 10 }))).toEqual(permutation)
    }
  })

  test('gives the words of Philox', () => {
    const { philox_known_answers: answers } = procedure('rng_philox')
    const { key, out } = answers.find((one: any) => one.counter.every((c: number) => c === 0))
    const seed = (BigInt(key[1]) << 32n) | BigInt(key[0])
    expect(Array.from(createRandom({ kind: 'words', seed, count: 4, rng: 'philox' }))).toEqual(out)
  })

  test('the whole range of 32 bits', () => {
    const [low, high] = [-(2 ** 31), 2 ** 31]
    const numbers = createRandom({ kind: 'integers', seed: 1, count: 1000, low, high })
    expect(Math.min(...numbers)).toBeLessThan(-(2 ** 30))
    expect(Math.max(...numbers)).toBeGreaterThan(2 ** 30)
  })

  test.each<[object, RegExp]>([
    [{ kind: 'dice', seed: 1, count: 1 }, /kind/],
    [{ kind: 'words', seed: -1, count: 1 }, /seed/],
    [{ kind: 'words', seed: 1, count: 0 }, /count/],
    [{ kind: 'words', seed: 1, count: 2 ** 21 }, /count/],
    [{ kind: 'integers', seed: 1, count: 1 }, /high is missing/],
    [{ kind: 'integers', seed: 1, count: 1, low: 5, high: 5 }, /high/],
    [{ kind: 'uniform', seed: 1, count: 1, high: 5 }, /integers/],
    [{ kind: 'uniform', seed: 1, count: 1, rng: 'philox' }, /mt19937/],
  ])('%j is refused', (options, message) => {
    expect(() => createRandom(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) }),
    )
  })
})
