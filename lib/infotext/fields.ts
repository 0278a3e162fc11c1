/** The settings of a picture in A1111's words. */
import { formatInfotext, type InfotextValue } from './infotext.js'
import { emphasisWord, etaField, samplerWord, scheduleWord } from './words.js'
import type { AnyResolvedOptions, LayoutBox, PipelineInfo } from '../types.js'

function named(label: number | string, names: readonly string[]): string {
  const name = typeof label === 'number' ? names[label] : label
  return name === undefined ? String(label) : typeof label === 'number' ? `${label} (${name})` : name
}

function spellBox({ label, x, y, width, height }: LayoutBox, names: readonly string[]): string {
  return `${named(label, names)} at ${[x, y, width, height].join(' ')}`
}

/** What the web UI has no word for: the inputs of the other kinds of model. */
function inputFields(options: AnyResolvedOptions, info: PipelineInfo): Record<string, InfotextValue> {
  const { classId, boxes, noiseLevel, neighbours } = options
  const names = 'classes' in info ? info.classes : []
  return {
    'Model kind': info.kind === 'text' ? undefined : info.kind,
    Class: classId === undefined ? undefined : named(classId, names),
    Boxes: boxes?.map((box) => spellBox(box, names)).join('; '),
    'Noise level': noiseLevel,
    Neighbours: neighbours && ('database' in neighbours ? (neighbours.k ?? 10) : neighbours.length),
  }
}

/** The "parameters" text of one picture. `options.seed` is that picture's own, `version` that of this package. */
export function writeInfotext(options: AnyResolvedOptions, model: string, info: PipelineInfo, version: string): string {
  const { schedule, clipSkip, emphasis } = options
  return formatInfotext(options.prompt ?? '', options.negativePrompt ?? '', {
    Steps: options.steps,
    Sampler: samplerWord(options.sampler),
    'Schedule type': typeof schedule === 'string' ? scheduleWord(schedule) : schedule && 'Custom',
    'CFG scale': options.guidanceScale,
    Seed: options.seed,
    Size: `${options.width}x${options.height}`,
    Model: model,
    'Denoising strength': options.strength,
    'Clip skip': clipSkip !== undefined && clipSkip > 1 ? clipSkip : undefined,
    ...inputFields(options, info),
    // The web UI names its source of noise only where it is not the GPU, whose numbers philox gives.
    RNG: options.rng === 'mt19937' ? 'CPU' : undefined,
    ...etaField(options.sampler, options.eta),
    Emphasis: emphasis === undefined || emphasis === 'original' ? undefined : emphasisWord(emphasis),
    'CFG Rescale phi': options.guidanceRescale > 0 ? options.guidanceRescale : undefined,
    'Guidance interval': options.guidanceInterval?.join(' '),
    DeepCache: options.deepCache && `${options.deepCache.interval} ${options.deepCache.branch}`,
    Version: `node-latent-diffusion ${version}`,
  })
}
