import { type ResizeFilter } from './resize.js';
/** Formats that {@link RawImage.encode} writes. JPEG and WebP need the optional peer `sharp`. */
export type ImageFormat = 'png' | 'jpeg' | 'webp';
/** What a {@link RawImage} is made of; also what `sharp` and other libraries call raw pixels. */
export interface RawImageData {
    /** Interleaved 8-bit rows, top to bottom: width * height * channels bytes. */
    data: Uint8Array | Uint8ClampedArray;
    width: number;
    height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    channels: 1 | 3 | 4;
    /** Texts to be kept with the picture, by keyword. */
    metadata?: Readonly<Record<string, string>>;
}
/** What {@link RawImage.read} takes: a path or `file:` URL, the bytes of a picture file, or pixels. */
export type RawImageInput = string | URL | Uint8Array | RawImageData;
/** Options of {@link RawImage.encode} and {@link RawImage.save}. */
export interface EncodeOptions {
    /** JPEG and WebP: 1 to 100. Default 92. */
    quality?: number;
    /** WebP: without loss. Default false. */
    lossless?: boolean;
    /** PNG: zlib's level, 0 (fast) to 9 (small). Default 6. */
    compressionLevel?: number;
    /** PNG: write `metadata` into the file. Default true. */
    metadata?: boolean;
}
/** The bytes of a picture file given by its path, URL or bytes, and what to call it in messages. */
export declare function readPictureBytes(input: unknown, name: string): Promise<{
    bytes: Uint8Array;
    where: string;
}>;
/** A picture: interleaved 8-bit pixels with the texts that belong to it. */
export declare class RawImage {
    /** Interleaved rows, top to bottom, width * height * channels bytes. */
    readonly data: Uint8Array;
    readonly width: number;
    readonly height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    readonly channels: 1 | 3 | 4;
    /** Texts by keyword, as PNG files carry them; `parameters` holds the settings of a generated picture in A1111's words. */
    readonly metadata: Readonly<Record<string, string>>;
    /** Takes pixels as they are, without a copy. */
    constructor({ data, width, height, channels, metadata }: RawImageData);
    /**
     * Reads a picture: a path or `file:` URL, the bytes of a file, or pixels. The kind is told by the content. PNG of any depth is read to 8 bits with its texts;
     * JPEG, WebP and others when the optional peer `sharp` is installed, turned upright by their EXIF orientation.
     * @throws DiffusionError `ERR_IMAGE_FORMAT` for broken, unknown or too large pictures (16384 pixels a side, 64 million in all), `ERR_UNSUPPORTED_IMAGE` where
     * sharp is missing, `ERR_IO` where the file cannot be read
     */
    static read(input: RawImageInput | RawImage): Promise<RawImage>;
    /** The bytes of a picture file. Default format: PNG, with `metadata` as text chunks. */
    encode(format?: ImageFormat, options?: EncodeOptions): Promise<Uint8Array>;
    /** Writes a file; its name ends in .png, .jpg, .jpeg or .webp. It appears whole or not at all: a temporary file beside it is renamed at the end. */
    save(file: string | URL, options?: EncodeOptions): Promise<void>;
    /** A resized copy, as Pillow makes it. Default filter: Lanczos. */
    resize(width: number, height: number, options?: {
        filter?: ResizeFilter;
    }): Promise<RawImage>;
}
