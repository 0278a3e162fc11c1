/** The settings of a picture in A1111's words. */
import { getVersions } from './devices.js'
import { formatInfotext } from './infotext.js'
import { samplerWord, scheduleWord } from './infotext-words.js'
import type { ResolvedOptions } from './types.js'

/** The "parameters" text of one picture. `options.seed` is that picture's own. */
export function writeInfotext(options: ResolvedOptions, model: string): string {
  const { schedule, clipSkip } = options
  return formatInfotext(options.prompt, options.negativePrompt, {
    Steps: options.steps,
    Sampler: samplerWord(options.sampler),
    'Schedule type': typeof schedule === 'string' ? scheduleWord(schedule) : schedule && 'Custom',
    'CFG scale': options.guidanceScale,
    Seed: options.seed,
    Size: `${options.width}x${options.height}`,
    Model: model,
    'Denoising strength': options.strength,
    'Clip skip': clipSkip !== undefined && clipSkip > 1 ? clipSkip : undefined,
    // The web UI names its source of noise only where it is not the GPU, whose numbers philox gives.
    RNG: options.rng === 'mt19937' ? 'CPU' : undefined,
    Eta: options.eta ? options.eta : undefined,
    Emphasis: options.emphasis === 'original' ? undefined : options.emphasis,
    'CFG Rescale phi': options.guidanceRescale > 0 ? options.guidanceRescale : undefined,
    Version: `node-latent-diffusion ${getVersions().version}`,
  })
}
