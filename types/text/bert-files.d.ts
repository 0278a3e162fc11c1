import { type BertTokenizerData } from './bert-data.js';
/**
 * The BERT tokenizer of a folder (its own files or those of its `tokenizer` subfolder), of one vocab.txt or of one tokenizer.json; undefined where a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export declare function readBertFiles(file: string): BertTokenizerData | undefined;
