import { type BertTokenizerData } from './bert-data.js';
import { type TextTokenizer } from './text-tokenizer.js';
/** Text to word pieces, by the vocabulary of a model or by the public one of bert-base-uncased. Immutable. */
export declare class BertTokenizer implements TextTokenizer {
    #private;
    readonly data: BertTokenizerData;
    /** [CLS] */
    readonly bosTokenId: number;
    /** [SEP] */
    readonly eosTokenId: number;
    readonly padTokenId: number;
    readonly commaTokenId: number | undefined;
    constructor(data: BertTokenizerData);
    /** The tokenizer of bert-base-uncased; one instance for the process. Building it takes about 0.1 s. */
    static standard(): BertTokenizer;
    get modelMaxLength(): number;
    encode(text: string): number[];
    /** `cat` begins a word, `##s` goes on with one. */
    idToToken(id: number): string | undefined;
    serialise(): string;
}
