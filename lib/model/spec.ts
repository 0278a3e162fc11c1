/** What a model's specification says of its conditioners. */
import { UnsupportedModelError } from '../errors.js'
import { layoutEncodingOf, type LayoutEncoding } from './layout-tokens.js'
import type { ModelSpec, PipelineInfo } from '../types.js'

/** One conditioner, as native/core/model_spec.h has it. */
export interface Conditioner {
  kind: string
  params?: Readonly<Record<string, unknown>>
}

/** The first conditioner of one of the kinds. */
export function conditionerOf<C extends Conditioner = Conditioner>(spec: Pick<ModelSpec, 'conditioners'>, ...kinds: string[]): C | undefined {
  return (spec.conditioners as unknown as C[]).find(({ kind }) => kinds.includes(kind))
}

/** What a source without a U-Net holds instead, and what that can do. */
export function describeParts({ spec, condition }: Pick<PipelineInfo, 'spec' | 'condition'>): string {
  const parts = [
    ...(spec.firstStage ? [['a first stage', 'Autoencoder.load() to encode and decode images']] : []),
    ...(conditionerOf(spec, 'clip_text', 'bert_text') ? [['a text encoder', 'encodePrompt()']] : []),
    ...(condition.imageEncoder ? [['an image encoder', 'embedImage()']] : []),
  ]
  if (parts.length === 0) return 'this source has no U-Net'
  return `this source has no U-Net, only ${parts.map(([what]) => what).join(' and ')}: use ${parts.map(([, use]) => use).join(', ')}`
}

/** How a layout-to-image model reads boxes. */
export function layoutEncoding({ spec }: { spec: ModelSpec }): LayoutEncoding {
  const encoding = layoutEncodingOf(conditionerOf(spec, 'layout')?.params ?? {})
  if (!encoding) throw new UnsupportedModelError('This layout model is inconsistent: classes, length and vocabulary of its conditioner do not match')
  return encoding
}

/** By how much the network halves its latents in all: 8 on four levels. */
export function unetDownsampling({ spec }: { spec: ModelSpec }): number {
  const levels = (spec.unet as { channelMult?: unknown } | null)?.channelMult
  return Array.isArray(levels) ? 2 ** (levels.length - 1) : 1
}
