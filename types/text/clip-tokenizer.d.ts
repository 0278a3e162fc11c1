import { type TextTokenizer } from './text-tokenizer.js';
import { type TokenizerData } from './tokenizer-data.js';
/** Text to the token ids of CLIP's text encoders, by the byte-pair vocabulary of a model or by CLIP's public one. Immutable. */
export declare class ClipTokenizer implements TextTokenizer {
    #private;
    readonly data: TokenizerData;
    readonly bosTokenId: number;
    readonly eosTokenId: number;
    readonly padTokenId: number;
    readonly commaTokenId: number | undefined;
    constructor(data: TokenizerData);
    /** The public CLIP tokenizer of Stable Diffusion; one instance for the process. Building it takes about 0.1 s. */
    static standard(): ClipTokenizer;
    get modelMaxLength(): number;
    encode(text: string): number[];
    tokenToId(token: string): number | undefined;
    /** The vocabulary's own spelling: `cat</w>` is a whole word or its end, bytes beyond ASCII are stand-in characters. */
    idToToken(id: number): string | undefined;
    serialise(): string;
    /** A tokenizer that also knows these texts as single tokens, with the next free ids (those that the vocabulary has keep theirs), as transformers' add_tokens(). */
    withAddedTokens(contents: readonly string[]): ClipTokenizer;
}
