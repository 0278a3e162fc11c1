/** Options of an estimate besides those of the load. */
import type { PreviewOptions } from '../types.js'
import { shared } from './common.js'
import { checkPreviewSettings } from './generate.js'
import { loras } from './loras.js'
import { number, option, pick } from './option.js'
import { samplingOptions } from './sampling.js'

export const estimateOptions = {
  ...pick(shared, 'width', 'height', 'count'),
  guidanceScale: number({ min: 0, max: 1000, flag: { help: '1 disables guidance and halves the batch' } }),
  imageGuidanceScale: number({ min: 0, max: 1000, flag: { help: 'editing models; 1 saves one of three evaluations' } }),
  deepCache: samplingOptions.deepCache,
  loras,
  preview: option(checkPreviewSettings, {
    toNative: ({ method }: Partial<PreviewOptions>) => ({ previewMethod: method ?? '' }),
    flag: { name: 'preview-method', value: 'NAME', help: 'count previews, too: linear, taesd or vae', read: (text) => ({ method: text }) },
  }),
}
