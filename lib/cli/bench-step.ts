/** The step that `latent bench` times: inputs for every kind of model, and one evaluation as generate() makes it. */
import { RawImage, type Conditioning, type DiffusionPipeline, type Inputs, type Latents, type PipelineInfo, type PredictOptions } from '../index.js'
import { takesPrompts } from '../kinds/input-rules.js'

interface Size {
  width: number
  height: number
}

const grey = ({ width, height }: Size) => new RawImage({ data: new Uint8Array(width * height * 3).fill(128), width, height, channels: 3 })

/** Inputs for an image of this size. Their content makes no difference to the time. */
function inputsOf(info: PipelineInfo, { width, height }: Size): Inputs {
  const size = { width, height }
  switch (info.kind) {
    case 'class':
      return { classId: 0 }
    case 'layout':
      return { boxes: [{ label: 0, x: 0, y: 0, width: 1, height: 1 }] }
    case 'semantic':
      return { semanticMap: { data: new Uint8Array(width * height), ...size } }
    case 'superres': {
      const { factor } = info.condition
      return { image: grey({ width: width / factor, height: height / factor }) }
    }
    case 'inpaint':
      return { image: grey(size), mask: { data: new Uint8Array(width * height).fill(255), ...size } }
    case 'edit':
      return { image: grey(size) }
    case 'depth':
      return { depthMap: { data: Uint8Array.from({ length: width * height }, (_, i) => i % width), ...size } }
    case 'rdm':
      return { neighbours: [new Float32Array(info.condition.dim!).fill(info.condition.dim! ** -0.5)] }
    default:
      return {}
  }
}

export interface BenchStepOptions extends Size {
  /** Default: the model's. */
  guidanceScale?: number
  imageGuidanceScale?: number
  signal?: AbortSignal
}

/** A step that can be timed. */
export interface BenchStep {
  /** Evaluations of the network in a step, which run as one batch. */
  evaluations: number
  evaluate: () => Promise<Latents>
}

/** Encodes what a model reads apart from images: a prompt, a class, boxes or a label map. Undefined if it reads nothing. */
export function encoderOf(pipe: DiffusionPipeline, size: Size, signal?: AbortSignal): (() => Promise<Conditioning>) | undefined {
  const { info } = pipe
  if (takesPrompts(info)) return () => pipe.encodePrompt('', { signal })
  if (!['class', 'layout', 'semantic'].includes(info.kind)) return undefined
  return () => pipe.encodeCondition(inputsOf(info, size), { signal })
}

/** Prepares a step from the middle of the schedule, with guidance if the model has it by default or if a scale is given. */
export async function prepareStep(pipe: DiffusionPipeline, latents: Latents, options: BenchStepOptions): Promise<BenchStep> {
  const { info } = pipe
  const { condition, defaults, spec } = info
  const { signal } = options
  const guidanceScale = condition.guidance ? (options.guidanceScale ?? defaults.guidanceScale) : 1
  const imageGuidanceScale = info.kind === 'edit' ? (options.imageGuidanceScale ?? defaults.imageGuidanceScale!) : 1
  const inputs = inputsOf(info, options)
  const encode = (unconditional: boolean) => pipe.encodeCondition(inputs, { unconditional, seed: 0, signal })
  const guided = guidanceScale !== 1 || imageGuidanceScale !== 1
  const compared = guided && !condition.guidanceEmbedding // else the scale is an input of the network
  const { timesteps, edm } = spec.schedule
  const request: PredictOptions = {
    timestep: edm ? 0 : Math.floor(timesteps / 2),
    conditioning: await encode(false),
    ...(compared ? { unconditional: await encode(true) } : {}),
    guidanceScale,
    imageGuidanceScale,
    signal,
  }
  // With equal scales, what compares the two with each other cancels out.
  const evaluations = !compared ? 1 : imageGuidanceScale !== 1 && imageGuidanceScale !== guidanceScale ? 3 : 2
  return { evaluations, evaluate: () => pipe.predict(latents, request) }
}
