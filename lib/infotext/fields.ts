/** The settings of an image in A1111's format. */
import { inputOptions, refinerOptions, startOptions } from '../kinds/input-options.js'
import { generateOptions } from '../options/generate.js'
import { infotextFields, pick } from '../options/option.js'
import { samplingOptions } from '../options/sampling.js'
import type { AnyResolvedOptions, PipelineInfo } from '../types.js'
import { formatInfotext } from './infotext.js'

/** Names of the models that made an image. */
export interface ModelNames {
  model: string
  refiner?: string | undefined
}

const settings = pick(generateOptions, 'variationSeed', 'variationStrength', 'hires')

/** The "parameters" text of one image. `options.seed` is that image's own, `version` that of this package. */
export function writeInfotext(options: AnyResolvedOptions, { model, refiner }: ModelNames, info: PipelineInfo, version: string): string {
  return formatInfotext(options.prompt ?? '', options.negativePrompt ?? '', {
    Size: `${options.width}x${options.height}`,
    Model: model,
    'Model kind': info.kind === 'text' ? undefined : info.kind,
    ...infotextFields({ ...samplingOptions, ...settings, ...startOptions, ...inputOptions }, options, info),
    Refiner: (options.refinerSwitchAt ?? 1) < 1 ? refiner : undefined,
    ...infotextFields(refinerOptions, options, info),
    Version: `node-latent-diffusion ${version}`,
  })
}
