import type { TextTokenizer } from './text-tokenizer.js';
/** One window of the text encoder. All three lists have the encoder's length, 77: start, up to 75 tokens, end, padding. */
export interface PromptChunk {
    ids: number[];
    /** Weight of each token's embedding; 1 on start, end and padding. */
    weights: number[];
    /** The tokens as the vocabulary spells them (`cat</w>`). */
    text: string[];
}
/** What {@link tokenizePrompt} makes of a prompt. */
export interface TokenizedPrompt {
    /** At least one. */
    chunks: PromptChunk[];
    /** Whether tokens were cut off; never with `a1111` in several chunks, which goes on in further ones. */
    truncated: boolean;
    /** Tokens of the prompt, the room that BREAK and moved commas leave free included: the number that the web UI shows. */
    tokenCount: number;
}
export interface TokenizePromptOptions {
    /** `a1111` (default): emphasis, BREAK and any length. `none`: the text as it is, cut at one window, as diffusers. */
    emphasis?: 'a1111' | 'none';
    /** One window, cut where it is full, for encoders that were trained with one (BERT): emphasis has its meaning, BREAK only separates words. Default false. */
    single?: boolean;
    /** A chunk that is full moves what follows its last comma to the next chunk, if that is at most so many tokens; 0 turns this off. Default 20. */
    commaBacktrack?: number;
    /** Adds empty chunks up to this number. Default 1. */
    minChunks?: number;
    /** Default: those of the tokenizer. */
    bosTokenId?: number;
    eosTokenId?: number;
    /** Fills windows after the end token. Default: the tokenizer's; Stable Diffusion 2 pads with 0. */
    padTokenId?: number;
    /** Window of the text encoder. Default: the tokenizer's, 77. */
    maxLength?: number;
}
/** Longest prompt, in UTF-16 units: some 200 chunks. */
export declare const maxPromptLength = 65536;
/**
 * A prompt as windows of token ids and weights, in the web UI's way (AUTOMATIC1111 1.10) or plain.
 * @throws RangeError with code `ERR_INVALID_ARG` for a prompt of more than 65536 characters
 */
export declare function tokenizePrompt(tokenizer: TextTokenizer, prompt: string, options?: TokenizePromptOptions): TokenizedPrompt;
