import type { Emphasis, LayoutBox, MaskInput, SemanticMapInput } from './inputs.js';
import type { NativeCondition, NativeConditionArrays, NativePromptTokens } from '../native/contract.js';
import { type QueryEncoder, type ResolvedNeighbours } from './neighbours.js';
import type { PipelineTokenizer } from '../text/tokenizer.js';
import type { ImageInput, PipelineInfo } from '../types.js';
export declare function resolveEmphasis(value: unknown): Emphasis;
export declare function resolveClipSkip(value: unknown): number | undefined;
/** A prompt with its settings. */
export interface ResolvedPrompt {
    text: string;
    emphasis: Emphasis;
    clipSkip: number | undefined;
}
/** Checked inputs: only those that the model takes. */
export interface ResolvedInputs {
    prompt?: ResolvedPrompt;
    classId?: number;
    boxes?: readonly LayoutBox[];
    semanticMap?: SemanticMapInput;
    /** Of super-resolution and inpainting; the start of image to image is not part of the condition. */
    image?: ImageInput;
    mask?: MaskInput;
    noiseLevel?: number;
    neighbours?: ResolvedNeighbours;
}
/** Checks the inputs of the condition among `o`, whose names are known. Pictures are read later. */
export declare function resolveInputs(o: Record<string, unknown>, info: PipelineInfo): ResolvedInputs;
/** What gathering needs of a pipeline. */
export interface ConditionContext {
    info: PipelineInfo;
    tokenizer: () => PipelineTokenizer;
    /** Embeds a prompt of a retrieval-augmented model, for the search in a database. */
    encodeQuery: QueryEncoder;
}
/** The engine's request for a condition, with the pictures read. */
export interface GatheredCondition {
    condition: NativeCondition;
    arrays: NativeConditionArrays;
    /** Size of the finished picture in pixels, where the inputs set it. */
    size?: {
        width: number;
        height: number;
    };
}
/** Reads the pictures of checked inputs, searches their database, and makes the engine's request of them; prompts are tokenized unless `prompt` is given. */
export declare function gatherCondition(inputs: ResolvedInputs, context: ConditionContext, signal?: AbortSignal, prompt?: NativePromptTokens): Promise<GatheredCondition>;
