import type { ElementType, StoredArray } from './stored-array.js';
/** What the header of a .npy file says. */
export interface NpyHeader {
    type: ElementType;
    itemBytes: number;
    shape: number[];
    /** Bytes before the data. */
    dataStart: number;
}
/**
 * Reads the head of a .npy file (numpy.lib.format): `\x93NUMPY`, version, length, a Python dictionary with descr, fortran_order and shape.
 * @returns undefined where more bytes than given are needed
 * @throws ModelFormatError for what is none, UnsupportedModelError for arrays of other types or orders
 */
export declare function parseNpyHeader(bytes: Buffer, where: string): NpyHeader | undefined;
/**
 * The arrays of a .npz file by name. Only their headers are read.
 * @param required must be there and readable; others are left out where their type is not read (pickled objects)
 * @throws ModelFormatError for a broken file, UnsupportedModelError for a required array of another type, DiffusionError `ERR_IO` where it cannot be read
 */
export declare function openNpz(file: string, required: string): Promise<Map<string, StoredArray>>;
