/** What prompts need of a tokenizer, whatever its vocabulary. */
export interface TextTokenizer {
    /** Opens a window: start of text, [CLS]. */
    readonly bosTokenId: number;
    /** Closes it: end of text, [SEP]. */
    readonly eosTokenId: number;
    readonly padTokenId: number;
    /** Id of a comma as a word of its own, where the vocabulary has one. */
    readonly commaTokenId: number | undefined;
    /** Tokens that the text encoder takes, start and end included. */
    readonly modelMaxLength: number;
    /** Token ids of a text, without start and end. */
    encode(text: string): number[];
    /** The vocabulary's own spelling. */
    idToToken(id: number): string | undefined;
    /** The whole of it as one text, for the metadata of a GGUF file. */
    serialise(): string;
}
/** Lower case character by character: JavaScript's own lowering of a whole text gives a Greek word its final sigma, which the references do not. */
export declare function lowerEach(text: string): string;
/** Ids of a text: `special` (split off by {@link literalPattern}) by its own table, everything between by the tokenizer; what that does not know is `unknown`. */
export declare function encodeAround(text: string, pattern: RegExp, special: ReadonlyMap<string, number>, encode: (part: string) => readonly (number | undefined)[], unknown: number): number[];
/** A capturing pattern of literal texts, the longest first: splitting by it puts them at the odd places. */
export declare function literalPattern(texts: readonly string[]): RegExp;
