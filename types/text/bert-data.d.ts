import { type Json } from './tokenizer-data.js';
/** Starts a piece that goes on with a word. */
export declare const continuation = "##";
/** A vocabulary of word pieces with its markers. */
export interface BertTokenizerData {
    vocab: ReadonlyMap<string, number>;
    /** Lower case, and no accents: the "uncased" vocabularies. */
    lowercase: boolean;
    clsToken: string;
    sepToken: string;
    padToken: string;
    unkToken: string;
    maskToken: string;
    /** Tokens that the text encoder takes, start and end included. */
    modelMaxLength: number;
}
/** Puts the parts together. `configs`: the first that names a marker or a setting decides. Only the mask may be missing from the vocabulary: prompts do without it. */
export declare function assembleBert(vocab: ReadonlyMap<string, number>, configs: readonly Json[], where: string): BertTokenizerData;
/** A vocab.txt: one token per line; the number of the line, from 0, is its id. */
export declare function fromVocabText(text: string, configs: readonly Json[], where: string): BertTokenizerData;
/** The contents of a tokenizer.json. Of its normaliser only `lowercase` is read; it is not run from the file. */
export declare function fromBertJson(json: Json, configs: readonly Json[], where: string): BertTokenizerData;
/** bert-base-uncased, from the asset made at build time: the tokenizer of the LDM text-to-image models. */
export declare function standardBertData(file?: string): BertTokenizerData;
/**
 * The tokenizer as one JSON text, for the metadata of a GGUF file:
 * `{ format: 'bert-wordpiece', version: 1, do_lower_case, cls_token, sep_token, pad_token, unk_token, mask_token, model_max_length, vocab: [...] | { token: id } }`.
 * `vocab` is a list by id where the ids have no gaps.
 */
export declare function serialiseBert(data: BertTokenizerData): string;
/** Reads what {@link serialiseBert} wrote. The text comes out of a file and is checked like one. */
export declare function parseBert(text: string, where?: string): BertTokenizerData;
