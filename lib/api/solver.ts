import { addon, guarded } from '../native/call.js'
import type { NativeSolver, NativeSolverRequest } from '../native/contract.js'
import { runJob } from '../native/job.js'
import { giveInto, newFloats, ownFloats } from '../options/arrays.js'
import { Latents, latentsOf, nativeLatents } from './latents.js'
import {
  boolean,
  checkObject,
  checkOptions,
  choice,
  integer,
  number,
  option,
  readNested,
  text,
  type Options,
  type Values,
} from '../options/option.js'
import { denoisingOptions, resolveDenoising, resolveSampling, solverSamplingOptions } from '../options/sampling.js'
import { samplerNames, scheduleNames } from '../names.js'
import type { EdmScheduleSpec, EvaluationOption, ModelSpec, NoiseScheduleSpec, Prediction, SamplingOptions } from '../types.js'
import {
  checkInteger,
  checkName,
  checkNumber,
  invalidRange,
  invalidType,
  isFloat32Array,
  knownKeys,
  listOf,
  plainObject,
  show,
} from '../options/validate.js'

/** Options of {@link createSolver}: the sampling options, and the facts about training that a model would provide. */
export interface SolverOptions extends Omit<SamplingOptions, EvaluationOption> {
  sampler: NonNullable<SamplingOptions['sampler']>
  /** `pipe.info.spec`: gives `prediction` and the noise schedule. */
  spec?: Pick<ModelSpec, 'prediction' | 'schedule'>
  /**
   * The type of the model output passed to `step()`. Default: that of `spec`, else `eps`. `edm` needs a sampler in sigma
   * space (`euler`, `dpmpp_2m` ...); its noise levels are those of `noiseSchedule.edm`.
   */
  prediction?: Prediction
  /** Training betas, or their named form. Default: those of `spec`, else Stable Diffusion's. */
  betas?: Float32Array | readonly number[]
  noiseSchedule?: Partial<NoiseScheduleSpec>
  /** Image to image: start at this step of the schedule. Default 0. */
  startStep?: number
  /** Image to image: share of the schedule to run, instead of `startStep`. */
  strength?: number
  /** Part of the training time to run, 0 to 1 from the noise end, as in {@link SampleOptions}. */
  denoisingStart?: number
  denoisingEnd?: number
}

/** One evaluation of the network in a run. */
export interface Evaluation {
  /** The network's input besides the latents. */
  timestep: number
  /** Noise level at that point. */
  sigma: number
  /** The step; second-order solvers evaluate twice per step. */
  step: number
}

type SolverInfo = Pick<Solver, 'timesteps' | 'sigmas' | 'initNoiseSigma' | 'evaluations' | 'adaptive'>

function readInfo(native: NativeSolver): SolverInfo {
  return JSON.parse(guarded(() => native.info())) as SolverInfo
}

let create: (native: NativeSolver) => Solver

/**
 * A solver without a network, to use with `pipe.predict()`. It works on another thread. For evaluation i = 0, 1, 2 ...:
 * `input = await scaleInput(x, i)`, evaluate the network at `evaluations[i].timestep`, `await step(output, x, i)`. Text
 * to image starts from unit noise times `initNoiseSigma`.
 */
export class Solver {
  readonly #native: NativeSolver
  #info: SolverInfo

  static {
    create = (native) => new Solver(native)
  }

  private constructor(native: NativeSolver) {
    this.#native = native
    this.#info = readInfo(native)
  }

  /** Timestep of every evaluation. */
  get timesteps(): readonly number[] {
    return this.#info.timesteps
  }

  /** Noise levels of the steps and the final one, descending; 4096 stands for the infinite level of zero terminal SNR. */
  get sigmas(): readonly number[] {
    return this.#info.sigmas
  }

  get initNoiseSigma(): number {
    return this.#info.initNoiseSigma
  }

  get evaluations(): readonly Evaluation[] {
    return this.#info.evaluations
  }

  /** True for `dpm_adaptive`, whose number of evaluations depends on the network's outputs: the lists grow with every `step()` until the run ends. */
  get adaptive(): boolean {
    return this.#info.adaptive
  }

  /**
   * The network's input for evaluation i, as a new array or new latents; `x` is not changed.
   * @param noise noise that `s_churn` adds before the evaluation, instead of the solver's own generator; pass the same
   * to `step()`
   */
  async scaleInput<T extends Float32Array | Latents>(x: T, i: number, noise?: Float32Array | Latents): Promise<T>
  async scaleInput(x: Float32Array | Latents, i: number, noise?: Float32Array | Latents): Promise<Float32Array | Latents> {
    const index = this.#index(i)
    const values = await readArray(x, 'x')
    const drawn = await readLike(noise, 'noise', values)
    const out = newFloats(values.length, 'scaleInput()')
    await runJob(() => this.#native.scaleInput(values, index, out, drawn))
    return isFloat32Array(x) ? out : latentsOf(out, x.shape)
  }

  /**
   * Advances `x`, which must be the one passed to `scaleInput()`, by one evaluation in place, and returns it.
   * Evaluations run in order, each once.
   * @param modelOutput the network's raw output, after guidance; same length as `x`
   * @param noise standard normal numbers instead of the solver's own generator, for solvers that draw noise
   */
  async step<T extends Float32Array | Latents>(modelOutput: Float32Array | Latents, x: T, i: number, noise?: Float32Array | Latents): Promise<T> {
    const index = this.#index(i)
    const values = await readArray(x, 'x')
    const output = (await readLike(modelOutput, 'modelOutput', values))!
    const drawn = await readLike(noise, 'noise', values)
    const grown = await runJob(() => this.#native.step(output, values, index, drawn))
    if (grown !== '') this.#info = JSON.parse(grown) as SolverInfo
    if (isFloat32Array(x)) await giveInto(x, values, 'x')
    else await runJob(() => nativeLatents(x, 'x').write(values))
    return x
  }

  #index(i: number): number {
    return checkInteger(i, 'i', { min: 0, max: this.evaluations.length - 1 })
  }
}

/** A copy of the values. */
async function readArray(value: unknown, name: string): Promise<Float32Array> {
  if (isFloat32Array(value)) return ownFloats(value, name)
  if (!(value instanceof Latents)) throw invalidType(`${name} must be a Float32Array or Latents, not ${show(value)}`)
  return value.read()
}

/** An array of the length of x, or null if it is omitted. */
async function readLike(value: unknown, name: 'modelOutput' | 'noise', x: Float32Array): Promise<Float32Array | null> {
  if (value === undefined && name === 'noise') return null
  const array = await readArray(value, name)
  if (array.length !== x.length) throw invalidRange(`${name} has ${array.length} values, x has ${x.length}`)
  return array
}

/** Models are trained with 1000. Limits the work while the caller waits. */
const maxTimesteps = 10_000

const inPrograms = 'separate solvers are for programs'
const share = { min: 0, max: 1, flag: inPrograms }

function checkBetas(value: unknown): number[] {
  if (!Array.isArray(value) && !isFloat32Array(value)) throw invalidType(`betas must be an array of numbers, not ${show(value)}`)
  if (value.length < 1 || value.length > maxTimesteps) throw invalidRange(`betas must have 1 to ${maxTimesteps} values, not ${value.length}`)
  return listOf(value, 'betas', maxTimesteps).map((beta, i) => checkNumber(beta, `betas[${i}]`, { min: 0, max: 1 }))
}

const betas = option((value) => checkBetas(value), { flag: inPrograms })

const level = number({ min: 1e-6, max: 1e6, flag: inPrograms })

const edmOptions = {
  sigmaMin: level,
  sigmaMax: level,
  sigmaData: number({ min: 1e-3, max: 1e3, flag: inPrograms }),
} satisfies Options<EdmScheduleSpec>

const noiseScheduleOptions = {
  betaSchedule: text({ maxLength: 100, flag: inPrograms }),
  betaStart: number(share),
  betaEnd: number(share),
  timesteps: integer({ min: 1, max: maxTimesteps, flag: inPrograms }),
  zeroTerminalSnr: boolean({ flag: inPrograms }),
  betas,
  // null is passed on: it removes the schedule of `spec`.
  edm: option((value, name) => (value === null ? (null as never) : (readNested(edmOptions, value, name, undefined) as EdmScheduleSpec)), {
    flag: inPrograms,
  }),
} satisfies Options<NoiseScheduleSpec>

const predictions = ['eps', 'v', 'sample', 'edm'] as const

const solverOptions = {
  spec: option((value, name) => plainObject(value, name) as unknown as NonNullable<SolverOptions['spec']>, { flag: inPrograms }),
  prediction: choice({ names: predictions, flag: inPrograms }),
  betas,
  noiseSchedule: option((value, name) => readNested(noiseScheduleOptions, value, name, undefined) as Partial<NoiseScheduleSpec>, {
    flag: inPrograms,
  }),
  startStep: integer({ min: 0, max: 1000, flag: inPrograms }),
  strength: number(share),
  ...denoisingOptions,
} satisfies Options<Omit<SolverOptions, keyof SamplingOptions>>

const solverKeys = [...Object.keys(solverSamplingOptions), ...Object.keys(solverOptions)]

/** The start of an image-to-image run. */
function startOf(
  { startStep, strength }: Values<typeof solverOptions>,
  steps: number,
): Pick<NativeSolverRequest, 'imageToImage' | 'startStep' | 'strength'> {
  if (strength !== undefined) return { imageToImage: true, strength }
  return startStep === undefined ? {} : { imageToImage: true, startStep: checkInteger(startStep, 'startStep', { min: 0, max: steps }) }
}

/** Creates a solver. For unknown names of samplers or schedules, the error lists the known ones. */
export function createSolver(options: SolverOptions): Solver {
  const o = knownKeys(options, 'createSolver()', solverKeys)
  const { sampler } = o
  if (typeof sampler !== 'string') throw invalidType("sampler is missing: the name of a solver, for instance 'ddim'")
  if (o.startStep !== undefined && o.strength !== undefined) throw invalidType('startStep and strength cannot be combined')
  const names = { samplers: [...samplerNames], schedules: [...scheduleNames] }
  const { request } = resolveSampling(solverSamplingOptions, o, {
    ...names,
    defaults: { width: 0, height: 0, steps: 20, sampler, guidanceScale: 1 },
  })
  const part = resolveDenoising(o)
  if (part.denoisingStart !== undefined && (o.startStep !== undefined || o.strength !== undefined))
    throw invalidType('denoisingStart and denoisingEnd cannot be combined with startStep or strength')
  const values = checkOptions(solverOptions, o, undefined)
  const { spec } = values
  const noiseSchedule = {
    ...(spec?.schedule === undefined ? {} : checkObject(spec.schedule, 'spec.schedule')),
    ...values.noiseSchedule,
    ...(values.betas ? { betas: values.betas } : {}),
  }
  const prediction = values.prediction ?? checkName(spec?.prediction ?? 'eps', 'spec.prediction', predictions)
  const start = startOf(values, request.steps)
  const native: NativeSolverRequest = { ...request, ...part, ...start, prediction, noiseSchedule }
  return create(guarded(() => addon().createSolver(JSON.stringify(native))))
}
