export declare const pngSignature: Uint8Array<ArrayBuffer>;
export interface PngHeader {
    width: number;
    height: number;
    bitDepth: number;
    /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha. */
    colourType: number;
    interlaced: boolean;
}
/** A file whose structure has been checked. */
export interface PngFile {
    header: PngHeader;
    /** Contents of the tRNS chunk: the transparent colour, 16 bits per sample, or the alphas of the palette. */
    transparency: Buffer | undefined;
    /** The file reduced to what is needed for the picture: IHDR, PLTE, tRNS, IDAT, IEND. */
    essential: Buffer;
    /** The IDAT contents, joined. */
    compressed: Buffer;
    /** Contents of tEXt, zTXt and iTXt chunks. */
    texts: {
        type: string;
        data: Buffer;
    }[];
}
/** Checks order, sizes and check sums of all chunks. */
export declare function readChunks(file: Buffer, where: string): PngFile;
/**
 * Inflates the picture data, off the main thread and never to more than it may have, to see that it is whole and that its rows have filters that exist
 * (pngjs raises an error that nobody can catch where they do not).
 */
export declare function checkPictureData({ header, compressed }: PngFile, where: string): Promise<void>;
/** Keyword and text of all text chunks; of two with one keyword the first counts. Texts that cannot be read are left out. */
export declare function readTexts(texts: PngFile['texts']): Promise<Record<string, string>>;
/** One text chunk: tEXt where the text is Latin-1, else uncompressed iTXt, as Pillow and the web UIs write it. */
export declare function textChunk(keyword: string, text: string): Buffer;
/** The picture data of a grey or palette file as that of a plain grey one, whose samples are the numbers in the file. */
export declare function asGreySamples({ header: { width, height, bitDepth, interlaced }, compressed }: PngFile): Buffer;
