import { type TokenizerData } from './tokenizer-data.js';
/** A text file of bounded size, or undefined where there is none. */
export declare function readText(file: string): string | undefined;
export declare function readJson(file: string): Record<string, unknown> | undefined;
/**
 * The tokenizer of a folder (its own files or those of its `tokenizer` subfolder) or of one tokenizer.json; undefined where a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export declare function readTokenizerFiles(file: string): TokenizerData | undefined;
