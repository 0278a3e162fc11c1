/** Rows of a retrieval database. */
export interface RetrievalRows {
    /** [rows, dim], of any length; finite. */
    embeddings: Float32Array;
    /** [rows, dim] */
    shape: readonly [number, number];
    /** One text per row: where the picture is. */
    imageIds?: readonly string[];
    /** Four numbers per row, as the databases of the paper have them. */
    patches?: readonly (readonly number[])[];
}
/**
 * Writes a database that {@link RetrievalDatabase.load} reads. The file appears whole or not at all.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for rows that do not fit together, DiffusionError `ERR_IO` where the file cannot be written
 */
export declare function writeRetrievalDatabase(file: string, rows: RetrievalRows): Promise<void>;
