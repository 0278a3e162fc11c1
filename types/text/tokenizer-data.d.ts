/** A token that is found in the text before it is split. */
export interface AddedToken {
    id: number;
    content: string;
    /** Start, end or padding; found only as written. Others are also found in the normalised (lower-case) text. */
    special: boolean;
}
/** A byte-pair vocabulary with its markers. */
export interface TokenizerData {
    vocab: ReadonlyMap<string, number>;
    /** 'left right', best first. */
    merges: readonly string[];
    addedTokens: readonly AddedToken[];
    bosToken: string;
    eosToken: string;
    padToken: string;
    unkToken: string;
    /** Tokens that the text encoder takes, start and end included. */
    modelMaxLength: number;
}
/** Limits on what a file may claim; the largest public vocabularies have 256 thousand tokens. */
export declare const maxTokens = 1000000;
export type Json = Record<string, unknown>;
export declare function fail(where: string, what: string): never;
/** A JSON text whose top must be an object. */
export declare function parseObject(text: string, where: string): Json;
export declare function isObject(value: unknown): value is Json;
export declare function checkToken(token: unknown, where: string): string;
/** `{ token: id }` with ids that occur once. */
export declare function readVocab(value: unknown, where: string): Map<string, number>;
/** Merges as lines 'left right' or as pairs; both halves and their union must be tokens. */
export declare function readMerges(value: unknown, vocab: ReadonlyMap<string, number>, where: string): string[];
/** The lines of a merges.txt, without its version line. */
export declare function mergeLines(text: string): string[];
/** A token named in a configuration: its text, or an object with `content`. */
export declare function namedToken(value: unknown): string | undefined;
/** `added_tokens` of tokenizer.json (a list) or `added_tokens_decoder` of tokenizer_config.json (by id). */
export declare function readAddedTokens(value: unknown, where: string): AddedToken[];
interface Parts {
    vocab: ReadonlyMap<string, number>;
    merges: readonly string[];
    addedTokens: AddedToken[];
    /** tokenizer_config.json and special_tokens_map.json; the first that names a token decides. */
    configs: readonly Json[];
}
/** Puts the parts together: markers by name, CLIP's own where no configuration names them. */
export declare function assemble({ vocab, merges, addedTokens, configs }: Parts, where: string): TokenizerData;
/** `model_max_length` where it is one that a text encoder can have, 77 otherwise. */
export declare function windowLength(configs: readonly Json[]): number;
/** The contents of a tokenizer.json. Its normaliser and splitter are not run from the file (they may hold any regular expression): only CLIP's are known. */
export declare function fromTokenizerJson(json: Json, configs: readonly Json[], where: string): TokenizerData;
/** The public CLIP tokenizer. */
export declare function standardClipData(): TokenizerData;
/**
 * The tokenizer as one JSON text, for the metadata of a GGUF file:
 * `{ format: 'clip-bpe', version: 1, merges: ['l r', ...], vocab?: { token: id }, added_tokens: [...], bos_token, eos_token, pad_token, unk_token, model_max_length }`.
 * `vocab` is left out where it follows from the merges as CLIP's does.
 */
export declare function serialiseTokenizer(data: TokenizerData): string;
/** Reads what {@link serialiseTokenizer} wrote. The text comes out of a file and is checked like one. */
export declare function parseTokenizer(text: string, where?: string): TokenizerData;
export {};
