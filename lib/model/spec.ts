/** Facts from a model's specification. */
import { UnsupportedModelError } from '../errors.js'
import { layoutEncodingOf, type LayoutEncoding } from './layout-tokens.js'
import type { ModelSpec, PipelineInfo } from '../types.js'

/** One conditioner, as in native/core/model_spec.h. */
export interface Conditioner {
  kind: string
  params?: Readonly<Record<string, unknown>>
}

/** The first conditioner of one of these kinds. */
export function conditionerOf<C extends Conditioner = Conditioner>(spec: Pick<ModelSpec, 'conditioners'>, ...kinds: string[]): C | undefined {
  return (spec.conditioners as unknown as C[]).find(({ kind }) => kinds.includes(kind))
}

/** What a source without a U-Net contains instead, and how to use it. */
export function describeParts({ spec, condition }: Pick<PipelineInfo, 'spec' | 'condition'>): string {
  const parts = [
    ...(spec.firstStage ? [['a first stage', 'Autoencoder.load() to encode and decode images']] : []),
    ...(conditionerOf(spec, 'clip_text', 'bert_text') ? [['a text encoder', 'encodePrompt()']] : []),
    ...(condition.imageEncoder ? [['an image encoder', 'embedImage()']] : []),
  ]
  if (parts.length === 0) return 'this source has no U-Net'
  return `this source has no U-Net, only ${parts.map(([what]) => what).join(' and ')}: use ${parts.map(([, use]) => use).join(', ')}`
}

/** The box encoding of a layout-to-image model. */
export function layoutEncoding({ spec }: { spec: ModelSpec }): LayoutEncoding {
  const encoding = layoutEncodingOf(conditionerOf(spec, 'layout')?.params ?? {})
  if (!encoding) throw new UnsupportedModelError('This layout model is inconsistent: classes, length and vocabulary of its conditioner do not match')
  return encoding
}

/** The network's total downsampling of its latents: 8 with four levels. */
export function unetDownsampling({ spec }: { spec: ModelSpec }): number {
  const levels = (spec.unet as { channelMult?: unknown } | null)?.channelMult
  return Array.isArray(levels) ? 2 ** (levels.length - 1) : 1
}
