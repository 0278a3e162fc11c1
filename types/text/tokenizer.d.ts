import type { ModelInfo, PipelineInfo, TokenIds } from '../types.js';
import type { NativePromptTokens } from '../native/contract.js';
import type { ResolvedSource } from '../model/sources.js';
import { type PromptChunk } from './prompt.js';
/** A prompt as the text encoder will see it. */
export interface Tokenized {
    /** One per window of the encoder: ids with start and end token, a weight and the text of each. */
    chunks: PromptChunk[];
    /** True where a part of the prompt did not fit. */
    truncated: boolean;
}
/** How a prompt is to be encoded. */
export interface PromptSettings {
    emphasis: 'original' | 'no_norm' | 'comfy';
    /** 0: the model's own. */
    clipSkip: number;
}
/** The tokenizer text to store in a converted file: '' where the model has no text encoder, or the file it comes from already carries one. */
export declare function tokenizerForFile(source: ResolvedSource, info: ModelInfo): string;
/** The tokenizer of a loaded pipeline. */
export declare class PipelineTokenizer {
    #private;
    private constructor();
    /** `stored`: the text out of a GGUF file, or ''. The caller's files win over it, the model's own over the public vocabulary. */
    static create(stored: string, source: ResolvedSource, info: PipelineInfo): PipelineTokenizer;
    /** Token ids as they are, without a tokenizer. */
    static fromIds(prompt: TokenIds, info: PipelineInfo, settings: PromptSettings): NativePromptTokens;
    tokenize(prompt: string, minChunks?: number, emphasis?: 'none'): Tokenized;
    /** The engine's request for a prompt, padded with empty windows to at least `minChunks`. */
    request(prompt: string, settings: PromptSettings, minChunks?: number): NativePromptTokens;
    /** The request for a text as it is, cut at one window: what retrieval-augmented models embed. */
    plain(prompt: string): NativePromptTokens;
    /** Prompt and negative prompt with the same number of windows, as guidance in one batch needs it. */
    pair(prompt: string, negative: string, settings: PromptSettings): [NativePromptTokens, NativePromptTokens];
}
