import { type LayoutEncoding } from './layout-tokens.js';
import type { ModelSpec, PipelineInfo } from '../types.js';
/** One conditioner, as native/core/model_spec.h has it. */
export interface Conditioner {
    kind: string;
    params?: Readonly<Record<string, unknown>>;
}
/** The first conditioner of one of the kinds. */
export declare function conditionerOf<C extends Conditioner = Conditioner>(spec: Pick<ModelSpec, 'conditioners'>, ...kinds: string[]): C | undefined;
/** What a source without a U-Net holds instead, and what that can do. */
export declare function describeParts({ spec, condition }: Pick<PipelineInfo, 'spec' | 'condition'>): string;
/** How a layout-to-image model reads boxes. */
export declare function layoutEncoding({ spec }: {
    spec: ModelSpec;
}): LayoutEncoding;
/** By how much the network halves its latents in all: 8 on four levels. */
export declare function unetDownsampling({ spec }: {
    spec: ModelSpec;
}): number;
