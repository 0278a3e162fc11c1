export interface RetrievalLoadOptions {
    /** Most bytes of embeddings (as float32) that are kept in memory; larger databases are read from their files at every search. Default 2^30. */
    maxMemory?: number;
}
export interface SearchOptions {
    /** Aborts the search. */
    signal?: AbortSignal;
}
/** A row of the database that a search found. */
export interface Neighbour {
    /** Number of the row, counted through all files. */
    index: number;
    /** Cosine of the angle to the query, -1 to 1. */
    score: number;
    /** [dim], of length 1. */
    embedding: Float32Array;
    /** The picture it comes from, where the database says so (`img_id`). */
    imageId?: string | number;
    /** The part of that picture, as the database writes it (`patch_coords`). */
    patch?: readonly number[];
}
/**
 * Embeddings of pictures by which a retrieval-augmented model finds neighbours of a prompt: the published .npz files (arrays `embedding`, and `img_id` and
 * `patch_coords` where there are any) or safetensors files with tensors of these names. Search is exact.
 */
export declare class RetrievalDatabase {
    #private;
    /** Number of embeddings. */
    readonly size: number;
    /** Width of an embedding: 768 for CLIP ViT-L/14. */
    readonly dim: number;
    private constructor();
    /**
     * Opens a database of one file, several, or all in a folder.
     * @throws ModelFormatError for broken files and ones that do not belong together, UnsupportedModelError for element types that are not read, DiffusionError
     * `ERR_IO` where a file cannot be read
     */
    static load(source: string | URL | readonly (string | URL)[], options?: RetrievalLoadOptions): Promise<RetrievalDatabase>;
    /**
     * The `k` rows nearest to a query by cosine, nearest first; fewer where the database is smaller. The event loop turns while it works.
     * @param query [dim]; its length does not matter
     */
    search(query: Float32Array, k?: number, options?: SearchOptions): Promise<Neighbour[]>;
}
