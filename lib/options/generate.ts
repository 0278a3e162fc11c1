/** Options that generate() takes for every kind of model; those of its inputs are in kinds/. */
import type { CallOptions, CommonGenerateOptions, PreviewOptions, SamplingOptions } from '../types.js'
import { shared, type SideContext } from './common.js'
import { hires } from './hires.js'
import { loras } from './loras.js'
import { previewMethods } from '../names.js'
import { choice, integer, number, option, pick, readNested, type Options, type Values } from './option.js'
import { checkFunction, checkSeed, invalidType } from './validate.js'

export const previewOptions = {
  // The command line writes previews to the file named by the flag.
  onPreview: option((value, name) => checkFunction<PreviewOptions['onPreview']>(value, name), {
    flag: { name: 'preview', value: 'FILE', help: 'write previews to this file while sampling' },
  }),
  every: integer({ min: 1, max: 1000, fallback: () => 1, flag: { name: 'preview-every', help: 'steps between previews; default 1' } }),
  method: choice({
    names: previewMethods,
    fallback: () => 'linear' as const,
    flag: { name: 'preview-method', value: 'NAME', help: 'linear (small, default), taesd (with --preview-vae or a tiny --vae) or vae (slow)' },
  }),
} satisfies Options<PreviewOptions>

/** Without `onPreview`, for estimates. */
export function checkPreviewSettings(value: unknown, name: string): Values<typeof previewOptions> {
  return readNested(previewOptions, value, name, undefined)
}

function checkPreview(value: unknown, name: string): Required<PreviewOptions> {
  const { every, method, onPreview } = checkPreviewSettings(value, name)
  if (!onPreview) throw invalidType(`${name}.onPreview is missing: the function that receives the previews`)
  return { every, method, onPreview }
}

/** Noise between that of two seeds. */
export const variationOptions = {
  variationSeed: option((value, name): bigint => checkSeed(value, name), {
    flag: { ...shared.seed.flag, help: 'with --variation-strength: the other seed; default, or -1: random' },
    infotext: 'Variation seed',
  }),
  variationStrength: number({
    min: 0,
    max: 1,
    flag: { help: "from 0, the seed's image, to 1, that of --variation-seed; with --count, that seed counts up" },
    infotext: 'Variation seed strength',
  }),
} satisfies Options<Pick<CommonGenerateOptions, 'variationSeed' | 'variationStrength'>>

export const generateOptions = {
  ...pick(shared, 'width', 'height', 'count'),
  ...variationOptions,
  hires,
  latents: option((value) => value as NonNullable<CommonGenerateOptions['latents']>, { flag: 'arrays are for programs; --seed chooses the noise' }),
  loras,
  onProgress: shared.onProgress,
  preview: option(checkPreview, { flag: 'its options have separate flags' }),
  signal: shared.signal,
} satisfies Options<Omit<CommonGenerateOptions, keyof SamplingOptions> & CallOptions, SideContext>
