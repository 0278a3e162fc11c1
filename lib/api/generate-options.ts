/** Validation and defaults of generate(). */
import type { MaskInput } from '../kinds/inputs.js'
import { negativeOptions, refinerOptions, startOptions, takesStartPicture } from '../kinds/input-options.js'
import { generateInputKeys, refusedInputs, resolveInputs, type ResolvedInputs } from '../kinds/input-rules.js'
import { shared, type SideContext } from '../options/common.js'
import { generateOptions } from '../options/generate.js'
import { checkOptions, pick, type Values } from '../options/option.js'
import { resolveSampling, samplingOptions, usualStrength, type ResolvedSampling } from '../options/sampling.js'
import type { GenerateOptions, GenerateWarning, ImageInput, PipelineInfo } from '../types.js'
import { invalidType, knownKeys } from '../options/validate.js'

/** The checked options of a generate() call; a size that depends on the image is determined later. */
export interface ResolvedGenerate extends Values<typeof generateOptions> {
  inputs: ResolvedInputs
  /** Set for models with a prompt. */
  negativePrompt: string | undefined
  /** Undefined without a refiner. */
  refinerSwitchAt: number | undefined
  sampling: ResolvedSampling
  /** Undefined: none. */
  variation: { variationSeed: bigint; variationStrength: number } | undefined
  /** Start of image to image, and the part to repaint. */
  start: ImageInput | undefined
  startMask: MaskInput | undefined
  warnings: GenerateWarning[]
}

/** Warns where a negative prompt has no effect. A network with the guidance scale as an input evaluates none: there it is dropped. */
function resolveNegative(
  o: Record<string, unknown>,
  info: PipelineInfo,
  { guidanceScale, imageGuidanceScale = 1 }: ResolvedSampling['values'],
): Pick<ResolvedGenerate, 'negativePrompt' | 'warnings'> {
  const { negativePrompt } = checkOptions(negativeOptions, o, info)
  const ignored = (message: string): GenerateWarning[] => (negativePrompt ? [{ code: 'WARN_NEGATIVE_IGNORED', message }] : [])
  if (info.condition.guidanceEmbedding && negativePrompt !== undefined) {
    const message = 'The negative prompt was ignored: this model takes the guidance scale as an input and evaluates no second prompt.'
    return { negativePrompt: undefined, warnings: ignored(message) }
  }
  if (guidanceScale !== 1 || imageGuidanceScale !== 1) return { negativePrompt, warnings: [] }
  return { negativePrompt, warnings: ignored('The negative prompt has no effect: guidanceScale is 1, so only the prompt is evaluated.') }
}

function resolveVariation({ variationSeed, variationStrength, latents }: Values<typeof generateOptions>): ResolvedGenerate['variation'] {
  if (variationSeed !== undefined && variationStrength === undefined)
    throw invalidType('variationSeed needs variationStrength: how far the noise is changed towards that of the other seed, 0 to 1')
  if (!variationStrength) return undefined
  if (latents !== undefined) throw invalidType('variationStrength is for the noise of a seed and cannot be combined with latents')
  return { variationSeed: variationSeed ?? shared.seed.fallback(), variationStrength }
}

const commonKeys = [...Object.keys(generateOptions), ...Object.keys(samplingOptions)]

/** If the inputs determine the size, or an image has a mask, width and height are compared with that size later and need not be multiples of anything. */
function sideContext(o: Record<string, unknown>, info: PipelineInfo): SideContext {
  return { multiple: takesStartPicture(info) && o.mask === undefined ? info.sizeMultiple : 1 }
}

/** Checked size for an image without a mask. */
export function resolveSize(o: Record<string, unknown>, info: PipelineInfo): { width: number | undefined; height: number | undefined } {
  return checkOptions(pick(generateOptions, 'width', 'height'), o, sideContext(o, info))
}

export function resolveGenerate(options: GenerateOptions | undefined, info: PipelineInfo, where = 'generate()'): ResolvedGenerate {
  const o = knownKeys(options, where, [...generateInputKeys(info), ...commonKeys], refusedInputs(info))
  const sampling = resolveSampling(samplingOptions, o, info)
  const start = takesStartPicture(info) ? (o.image as ImageInput | undefined) : undefined
  if (o.strength !== undefined && start === undefined) throw invalidType('strength needs image: it is for image to image')
  const startMask = takesStartPicture(info) ? (o.mask as MaskInput | undefined) : undefined
  if (startMask !== undefined && start === undefined) throw invalidType('mask needs image: the image to inpaint')
  if (start !== undefined) sampling.request.strength = o.strength === undefined ? usualStrength : startOptions.strength.check(o.strength, 'strength')
  const own = checkOptions(generateOptions, o, sideContext(o, info))
  return {
    inputs: resolveInputs(o, info),
    ...resolveNegative(o, info, sampling.values),
    ...checkOptions(refinerOptions, o, info),
    ...own,
    variation: resolveVariation(own),
    sampling,
    start,
    startMask,
  }
}
