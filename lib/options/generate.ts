/** Options that generate() takes for every kind of model; those of its inputs are in kinds/. */
import type { CallOptions, CommonGenerateOptions, PreviewOptions, SamplingOptions } from '../types.js'
import { shared, type SideContext } from './common.js'
import { loras } from './loras.js'
import { callback, choice, integer, option, pick, readNested, type Options, type Values } from './option.js'
import { invalidType } from './validate.js'

const previewOptions = {
  every: integer({ min: 1, max: 1000, fallback: () => 1, flag: '--preview-every' }),
  method: choice({ names: ['linear', 'taesd', 'vae'], fallback: () => 'linear' as const, flag: 'previews of the command line are linear' }),
  onPreview: callback<PreviewOptions['onPreview']>({ flag: '--preview writes a file' }),
} satisfies Options<PreviewOptions>

/** Without `onPreview`: for estimates. */
export function checkPreviewSettings(value: unknown, name: string): Values<typeof previewOptions> {
  return readNested(previewOptions, value, name, undefined)
}

function checkPreview(value: unknown, name: string): Required<PreviewOptions> {
  const { every, method, onPreview } = checkPreviewSettings(value, name)
  if (!onPreview) throw invalidType(`${name}.onPreview is missing: the function that receives the pictures`)
  return { every, method, onPreview }
}

export const generateOptions = {
  ...pick(shared, 'width', 'height', 'count'),
  latents: option((value) => value as NonNullable<CommonGenerateOptions['latents']>, { flag: 'arrays are for programs; --seed chooses the noise' }),
  loras,
  onProgress: shared.onProgress,
  preview: option(checkPreview, { flag: '--preview FILE' }),
  signal: shared.signal,
} satisfies Options<Omit<CommonGenerateOptions, keyof SamplingOptions> & CallOptions, SideContext>
