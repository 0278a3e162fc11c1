/** Element types of numbers. `text`: fixed-length strings of UTF-32 or of bytes. */
export type ElementType = 'f16' | 'bf16' | 'f32' | 'f64' | 'u8' | 'i32' | 'i64' | 'utf32' | 'bytes';
/** An array in a file; row-major, little-endian. */
export interface StoredArray {
    /** For messages: file and name. */
    readonly where: string;
    readonly type: ElementType;
    /** Bytes of an element. */
    readonly itemBytes: number;
    readonly shape: readonly number[];
    /** Whether bytes can be had from the middle without reading what lies before. */
    readonly seekable: boolean;
    /** The bytes of the data from `start` up to `end`, both counted from its beginning and given only where `seekable`; all of them by default. */
    read(start?: number, end?: number): AsyncIterable<Buffer>;
}
/** Rows of an array and bytes per row, checked. A vector has one element per row. */
export declare function rowsOf(array: StoredArray): {
    count: number;
    width: number;
    bytes: number;
};
/** The rows of an array in blocks of at most `block` rows. Throws where the stream ends early or late. */
export declare function rowBlocks(array: StoredArray, block: number): AsyncGenerator<{
    first: number;
    count: number;
    bytes: Buffer;
}, void>;
/** Single rows by number, in the order asked for. */
export declare function pickRows(array: StoredArray, indices: readonly number[]): Promise<Buffer[]>;
/** Fails for arrays that do not hold floating-point numbers. */
export declare function requireFloats(array: StoredArray): void;
/** Elements as float32, into `out`. */
export declare function toFloats(bytes: Buffer, type: ElementType, out: Float32Array): void;
/** A row as numbers or, for strings, as text without its padding. */
export declare function rowValue(bytes: Buffer, type: ElementType, itemBytes: number): number[] | string;
