/** What loaded models of each kind say of themselves, as far as options are checked against it. */
import type { ModelKind, PipelineInfo } from '../../lib/types'

const common = {
  defaults: { width: 256, height: 256, steps: 50, sampler: 'ddim', guidanceScale: 3, eta: 0 },
  samplers: ['ddim', 'euler'],
  schedules: ['normal', 'karras'],
  defaultSchedules: { ddim: 'normal' },
  downsampling: 4,
  sizeMultiple: 16,
  latentChannels: 3,
}

const layoutParams = { classes: 340, vocabSize: 8192, maxLength: 92 }

const kinds: Record<ModelKind, object> = {
  text: { name: 'SD', condition: { guidance: true, tokens: 77, dim: 768 }, conditioners: [{ kind: 'clip_text' }] },
  class: {
    name: 'cin256-v2',
    condition: { guidance: true, classes: 3, nullClass: 3, tokens: 1, dim: 512 },
    conditioners: [{ kind: 'class', params: { names: ['tench, Tinca tinca', 'crane', 'crane'] } }],
  },
  unconditional: { name: 'CelebA-HQ', condition: { guidance: false }, conditioners: [] },
  layout: {
    name: 'layout2img',
    condition: { guidance: false, tokens: 92, dim: 512, classes: 340, maxObjects: 30 },
    conditioners: [{ kind: 'layout', params: layoutParams }],
  },
  semantic: { name: 'semantic', condition: { guidance: false, labels: 182 }, conditioners: [{ kind: 'spatial_rescaler' }] },
  superres: { name: 'bsr_sr', condition: { guidance: false, factor: 4 }, conditioners: [{ kind: 'identity' }] },
  inpaint: { name: 'inpainting_big', condition: { guidance: false }, conditioners: [{ kind: 'first_stage' }] },
  edit: {
    name: 'InstructPix2Pix',
    condition: { guidance: true, tokens: 77, dim: 768 },
    conditioners: [{ kind: 'clip_text' }],
    defaults: { ...common.defaults, imageGuidanceScale: 1.5 },
  },
  depth: { name: 'SD 2 depth', condition: { guidance: true, tokens: 77, dim: 1024 }, conditioners: [{ kind: 'clip_text' }] },
  rdm: { name: 'RDM', condition: { guidance: true, dim: 4 }, conditioners: [{ kind: 'external' }] },
  autoencoder: { name: 'KL-f8', condition: { guidance: false }, conditioners: [] },
}

/** `more` replaces parts: `{ condition: { guidance: true } }`. */
export function infoOf<K extends ModelKind>(
  kind: K,
  more: { conditioners?: object[]; condition?: object; [key: string]: unknown } = {},
): PipelineInfo<K> {
  const { conditioners, condition, ...rest } = { ...(kinds[kind] as Record<string, unknown>), ...more } as Record<string, unknown>
  const spec = { conditioners, schedule: { timesteps: 1000 }, unet: { channelMult: [1, 2, 2, 4] }, scaleFactor: 1 }
  return {
    kind,
    ...common,
    ...rest,
    condition: { ...(kinds[kind] as { condition: object }).condition, ...(condition as object) },
    spec,
  } as unknown as PipelineInfo<K>
}

/** The SD x4 upscaler and Stable Diffusion inpainting: kinds that read prompts as well. */
export const upscalerInfo = infoOf('superres', {
  name: 'SD x4 upscaler',
  condition: { guidance: true, tokens: 77, dim: 1024, maxNoiseLevel: 350, noiseLevel: 20 },
  conditioners: [{ kind: 'clip_text' }],
})
export const textInpaintInfo = infoOf('inpaint', {
  name: 'SD inpainting',
  condition: { guidance: true, tokens: 77, dim: 768 },
  conditioners: [{ kind: 'clip_text' }],
})
/** LDM text to image: BERT's word pieces. */
export const bertInfo = infoOf('text', { name: 'LDM text to image', condition: { tokens: 77, dim: 1280 }, conditioners: [{ kind: 'bert_text' }] })
/** RDM with a CLIP text encoder beside it. */
export const rdmTextInfo = infoOf('rdm', {
  condition: { guidance: true, dim: 4, tokens: 77 },
  conditioners: [{ kind: 'external' }, { kind: 'clip_text' }],
})

export function rejection(action: () => unknown): Error & { code: string } {
  try {
    action()
  } catch (error) {
    return error as Error & { code: string }
  }
  throw new Error('was accepted')
}
