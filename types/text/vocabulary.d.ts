/** Mark on the last piece of a word. */
export declare const endOfWord = "</w>";
export declare const startOfText = "<|startoftext|>";
export declare const endOfText = "<|endoftext|>";
/**
 * The 256 characters that stand for bytes, in the order of their tokens: printable ASCII and Latin-1 stand for themselves, the others for U+0100 onwards
 * (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", and the GPT-2 code; CLIP uses the same).
 */
export declare function byteCharacters(): string[];
/** Tokens by id for a list of merges ('left right', best first): bytes, bytes that end a word, one per merge, start and end of text. */
export declare function tokensOfMerges(merges: readonly string[]): string[];
/** The 48894 merges of the public CLIP tokenizer, from the asset made at build time. */
export declare function clipMerges(file?: string): string[];
