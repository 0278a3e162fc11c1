import type { StoredArray } from './stored-array.js';
/**
 * The tensors of a safetensors file by name; those of types that are not read are left out.
 * @throws ModelFormatError for a broken file, DiffusionError `ERR_IO` where it cannot be read
 */
export declare function openSafetensors(file: string): Promise<Map<string, StoredArray>>;
