/** The systems of the paper and their descendants: how each golden case is conditioned through the public API, and what it expects. */
import { Conditioning, type AnyInputs, type DiffusionPipeline, type Latents } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, strided, type GoldenCase } from './golden'
import { row, toLatents } from './model'

interface Steering {
  conditioning?: Conditioning
  unconditional?: Conditioning
}

export interface System {
  /** Name of the golden case. */
  name: string
  kind: string
  /** Rows of x and x_T. */
  rows: number
  inputsOf: (golden: GoldenCase, row: number) => AnyInputs
  /** Of the image, where the inputs leave it open. */
  size?: { width: number; height: number }
  /** In place of encoding the inputs. */
  steer?: (pipe: DiffusionPipeline, golden: GoldenCase) => Promise<Steering>
  /** Name of the network's output in `expected`. Default eps. */
  prediction?: string
  /** Steps of DDIM in `expected`. Default ddim4. */
  trajectory?: string
  guidanceScale?: number
  /** Expected cross-attention tokens, and which row of them belongs to a row of the batch. */
  context?: string
  contextRow?: (row: number) => number
  /** Expected concatenated channels. */
  concat?: string
}

/** Planar floats of one row. */
const picture = (golden: GoldenCase, name: string, i: number) => row(input(golden, name), i)

function mask(golden: GoldenCase, i: number): { data: Float32Array; width: number; height: number } {
  const { shape, data } = row(input(golden, 'mask'), i)
  return { data, width: shape[3]!, height: shape[2]! }
}

/** The image of ldm-inpaint-big has values 0 to 1; images of the API have -1 to 1. */
function centred({ shape, data }: { shape: number[]; data: Float32Array }): { shape: number[]; data: Float32Array } {
  return { shape, data: data.map((x) => 2 * x - 1) }
}

function boxes(golden: GoldenCase): AnyInputs['boxes'] {
  return (golden.inputs.objects!.value as any[]).map(({ category, bbox: [x, y, width, height], ...flags }) => ({
    label: category as number,
    ...{ x, y, width, height },
    groupOf: flags.is_group_of,
    occluded: flags.is_occluded,
    depiction: flags.is_depiction,
    inside: flags.is_inside,
  }))
}

function semanticMap(golden: GoldenCase, i: number): AnyInputs['semanticMap'] {
  const { shape, data } = row(input(golden, 'labels'), i)
  return { data: Int32Array.from(data), width: shape[2]!, height: shape[1]! }
}

function depthMap(golden: GoldenCase, i: number): AnyInputs['depthMap'] {
  const { shape, data } = row(input(golden, 'depth'), i)
  return { data, width: shape[3]!, height: shape[2]! }
}

/** [1, k, dim] as k rows. */
function neighbours(golden: GoldenCase): Float32Array[] {
  const { shape, data } = input(golden, 'embeddings')
  return Array.from({ length: shape[1]! }, (_, i) => data.slice(i * shape[2]!, (i + 1) * shape[2]!))
}

const byClass = (golden: GoldenCase, i: number): AnyInputs => ({ classId: input(golden, 'classes').data[i]! })

/** The golden small image of the x4 upscaler has noise of its own: it and its level come from the case, the rest from prompts. */
async function upscalerSteering(pipe: DiffusionPipeline, golden: GoldenCase): Promise<Steering> {
  const extras = { concat: await toLatents(loadExpected('sd-x4-upscaler').concat!), classLabel: input(golden, 'noise_level').data[0]! }
  const encode = async (prompt: string) => {
    const tokens = await pipe.encodePrompt(prompt)
    return Conditioning.from(await tokens.read(), tokens.shape, extras)
  }
  return { conditioning: await encode(astronaut), unconditional: await encode('') }
}

const astronaut = 'a photo of an astronaut riding a horse'

/** Prompts are those whose tokens the cases hold. */
export const systems: System[] = [
  { name: 'ldm-uncond', kind: 'unconditional', rows: 2, inputsOf: () => ({}) },
  { name: 'ldm-churches', kind: 'unconditional', rows: 2, inputsOf: () => ({}) },
  { name: 'ldm-cin256', kind: 'class', rows: 2, inputsOf: byClass, context: 'context' },
  { name: 'ldm-cin256-v2', kind: 'class', rows: 2, inputsOf: byClass, context: 'context', guidanceScale: 3 },
  {
    name: 'ldm-txt2img',
    kind: 'text',
    rows: 2,
    inputsOf: () => ({ prompt: 'a virus monster is playing guitar, oil on canvas' }),
    context: 'text_context',
    contextRow: () => 0,
    trajectory: 'ddim5',
    guidanceScale: 5,
  },
  { name: 'ldm-text2img256', kind: 'text', rows: 1, inputsOf: () => ({ prompt: 'a cat sitting on a black chair' }), context: 'text_context' },
  { name: 'ldm-layout2img', kind: 'layout', rows: 1, inputsOf: (golden) => ({ boxes: boxes(golden) }), context: 'context' },
  { name: 'ldm-semantic', kind: 'semantic', rows: 2, inputsOf: (golden, i) => ({ semanticMap: semanticMap(golden, i) }), concat: 'concat' },
  { name: 'ldm-sr', kind: 'superres', rows: 1, inputsOf: (golden, i) => ({ image: picture(golden, 'lr_image', i) }) },
  {
    name: 'ldm-inpaint-big',
    kind: 'inpaint',
    rows: 2,
    inputsOf: (golden, i) => ({ image: centred(picture(golden, 'image', i)), mask: mask(golden, i) }),
    concat: 'concat',
  },
  { name: 'ldm-rdm', kind: 'rdm', rows: 1, inputsOf: (golden) => ({ neighbours: neighbours(golden) }), context: 'context', guidanceScale: 5 },
  ...['sd1-inpaint', 'sd2-inpaint'].map((name): System => ({
    name,
    kind: 'inpaint',
    rows: 1,
    inputsOf: (golden, i) => ({ prompt: astronaut, image: picture(golden, 'image', i), mask: mask(golden, i) }),
    context: 'text_context',
    concat: 'concat',
    guidanceScale: 7.5,
  })),
  {
    name: 'sd2-depth',
    kind: 'depth',
    rows: 1,
    inputsOf: (golden, i) => ({ prompt: astronaut, depthMap: depthMap(golden, i) }),
    size: { width: 128, height: 64 },
    context: 'text_context',
    concat: 'concat',
    guidanceScale: 9,
  },
  {
    name: 'sd2-v',
    kind: 'text',
    rows: 2,
    inputsOf: () => ({ prompt: astronaut }),
    prediction: 'model_out',
    context: 'text_context',
    contextRow: () => 0,
    trajectory: 'ddim5',
    guidanceScale: 9,
  },
  {
    name: 'sd-x4-upscaler',
    kind: 'superres',
    rows: 1,
    inputsOf: () => ({}),
    steer: upscalerSteering,
    prediction: 'model_out',
    context: 'text_context',
    guidanceScale: 9,
  },
]

/** The greatest difference from an expected tensor, what the case allows, and the greatest value expected. */
export interface Distance {
  difference: number
  atol: number
  max: number
}

/** Distances by the name of the expected tensor. */
export type Distances = Record<string, Distance>

/** Measures one row of a case at a time. */
class Measurement {
  readonly distances: Distances = {}
  readonly #golden: GoldenCase
  readonly #expected: ReturnType<typeof loadExpected>

  constructor(
    readonly pipe: DiffusionPipeline,
    readonly system: System,
  ) {
    this.#golden = loadCase(system.name)
    this.#expected = loadExpected(system.name)
  }

  #compare(name: string, actual: Float32Array, reference: ArrayLike<number>): void {
    const { atol, max_abs: max } = this.#golden.expected[name]!
    const difference = Math.max(this.distances[name]?.difference ?? 0, maxDifference(actual, reference))
    this.distances[name] = { difference, atol, max }
  }

  #row(name: string, i: number): { shape: number[]; data: Float32Array } {
    return row(this.#expected[name]!, i)
  }

  /** What the model makes of the inputs: tokens and concatenated channels. */
  async condition(i: number): Promise<Steering> {
    const { context, contextRow, concat, guidanceScale, steer, size } = this.system
    if (steer) {
      const steering = await steer(this.pipe, this.#golden)
      if (context) this.#compare(context, await steering.conditioning!.read(), this.#row(context, i).data)
      return steering
    }
    const inputs = this.system.inputsOf(this.#golden, i)
    if (Object.keys(inputs).length === 0) return {}
    const conditioning = await this.pipe.encodeCondition(inputs, size)
    if (context) this.#compare(context, await conditioning.read(), this.#row(context, contextRow?.(i) ?? i).data)
    if (concat) this.#compare(concat, await conditioning.readConcat(), this.#row(concat, i).data)
    return guidanceScale === undefined
      ? { conditioning }
      : { conditioning, unconditional: await this.pipe.encodeCondition(inputs, { unconditional: true, ...size }) }
  }

  async predict(i: number, { conditioning }: Steering): Promise<void> {
    const timestep = input(this.#golden, 't').data[i]!
    const out = await this.pipe.predict(await toLatents(row(input(this.#golden, 'x'), i)), { timestep, ...(conditioning ? { conditioning } : {}) })
    const name = this.system.prediction ?? 'eps'
    this.#compare(name, await out.read(), this.#row(name, i).data)
  }

  /** DDIM without noise of its own, each step, and the image at the end. */
  async sample(i: number, steering: Steering): Promise<void> {
    const name = this.system.trajectory ?? 'ddim4'
    const { shape, data } = this.#expected[name]!
    const steps = shape[0]!
    const latents = await toLatents(row(input(this.#golden, 'x_T'), i))
    const guidanceScale = this.system.guidanceScale ?? 1
    for await (const step of this.pipe.sample({ ...steering, latents, steps, sampler: 'ddim', eta: 0, guidanceScale })) {
      const reference = row(row({ shape, data }, step.index), 0)
      this.#compare(name, await step.latents.read(), row({ shape: shape.slice(1), data: reference.data }, i).data)
      if (step.index === steps - 1) await this.#decode(i, step.latents)
    }
  }

  /** The image of the latents that the reference ends with. */
  async decodeExpected(i: number): Promise<void> {
    const trajectory = this.#expected[this.system.trajectory ?? 'ddim4']!
    const last = row(trajectory, trajectory.shape[0]! - 1)
    await this.#decode(i, await toLatents(row({ shape: last.shape.slice(1), data: last.data }, i)))
  }

  async #decode(i: number, latents: Latents): Promise<void> {
    const { stride = 1 } = this.#golden.expected.image_out!
    const [, , h, w] = latents.shape
    const factor = this.pipe.info.downsampling
    const out = await this.pipe.decode(latents, { output: 'float' })
    this.#compare('image_out', strided(out, [1, 3, h * factor, w * factor], stride), this.#row('image_out', i).data)
  }
}

/** Runs a case through the public API, row by row, and measures everything that it expects. */
export async function measureSystem(pipe: DiffusionPipeline, system: System): Promise<Distances> {
  const measurement = new Measurement(pipe, system)
  for (let i = 0; i < system.rows; i++) {
    const steering = await measurement.condition(i)
    await measurement.predict(i, steering)
    await measurement.sample(i, steering)
  }
  return measurement.distances
}

/** The parts one by one, on the first row: conditioner, one evaluation of the U-Net, decoder. */
export async function measureParts(pipe: DiffusionPipeline, system: System): Promise<Distances> {
  const measurement = new Measurement(pipe, system)
  await measurement.predict(0, await measurement.condition(0))
  await measurement.decodeExpected(0)
  return measurement.distances
}

/** Names of the distances that are beyond a bound, with the numbers. */
export function beyond(distances: Distances, bound: (distance: Distance, name: string) => number): string[] {
  return Object.entries(distances)
    .filter(([name, distance]) => !(distance.difference <= bound(distance, name)))
    .map(([name, { difference, max }]) => `${name}: ${difference.toExponential(2)} of ${max.toFixed(2)}`)
}
