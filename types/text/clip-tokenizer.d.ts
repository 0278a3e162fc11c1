import { type TokenizerData } from './tokenizer-data.js';
/** Text to the token ids of CLIP's text encoders, by the byte-pair vocabulary of a model or by CLIP's public one. Immutable. */
export declare class ClipTokenizer {
    #private;
    readonly data: TokenizerData;
    readonly bosTokenId: number;
    readonly eosTokenId: number;
    readonly padTokenId: number;
    /** Id of a comma as a word of its own, where the vocabulary has one. */
    readonly commaTokenId: number | undefined;
    constructor(data: TokenizerData);
    /** The public CLIP tokenizer of Stable Diffusion; one instance for the process. Building it takes about 0.1 s. */
    static standard(): ClipTokenizer;
    /** Tokens that the text encoder takes, start and end included (77). */
    get modelMaxLength(): number;
    /** Token ids of a text, without start and end. */
    encode(text: string): number[];
    tokenToId(token: string): number | undefined;
    /** The vocabulary's own spelling: `cat</w>` is a whole word or its end, bytes beyond ASCII are stand-in characters. */
    idToToken(id: number): string | undefined;
    /** A tokenizer that also knows these texts as single tokens, with the next free ids (those that the vocabulary has keep theirs), as transformers' add_tokens(). */
    withAddedTokens(contents: readonly string[]): ClipTokenizer;
}
