/** What a search found: other fields do not matter here. */
export interface FoundNeighbour {
    embedding: Float32Array;
}
/** What a search needs of a database: a {@link RetrievalDatabase}, or another that can do the same. */
export interface NeighbourDatabase {
    /** Width of an embedding. */
    readonly dim: number;
    /** The signal is that of the call which searches. */
    search(query: Float32Array, k: number, options?: {
        signal?: AbortSignal;
    }): Promise<readonly FoundNeighbour[]>;
}
/** A search in a database. */
export interface NeighbourSearch {
    database: NeighbourDatabase;
    /** How many. Default 10, as the reference's script; the public model was trained with up to 20. */
    k?: number;
    /** CLIP embedding to search with. Default: the prompt's. */
    query?: Float32Array;
}
/** One embedding per neighbour (or what a search found), or a search. Their order does not matter; they are normalised before use. */
export type Neighbours = readonly (Float32Array | FoundNeighbour)[] | NeighbourSearch;
export type ResolvedNeighbours = readonly Float32Array[] | (NeighbourSearch & {
    k: number;
});
/** Embeds a prompt with CLIP's text encoder. */
export type QueryEncoder = (prompt: string, signal?: AbortSignal) => Promise<Float32Array>;
/** Checks neighbours for a model of the given width. */
export declare function resolveNeighbours(value: unknown, dim: number, hasPrompt: boolean): ResolvedNeighbours;
/** The embeddings, row by row, [k, dim]. */
export declare function embeddingsOf(neighbours: ResolvedNeighbours, dim: number, embedPrompt: () => Promise<Float32Array>, signal?: AbortSignal): Promise<Float32Array>;
