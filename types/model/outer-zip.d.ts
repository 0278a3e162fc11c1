/** What came out of the outer zip. */
export interface Unpacked {
    file: string;
    config: Record<string, unknown> | undefined;
    /** Deletes the temporary file. */
    dispose(): Promise<void>;
}
/** Unpacks the only checkpoint of an archive, and the configuration beside it. Nothing is written under a name that the archive chose. */
export declare function unpackOuterZip(file: string, signal?: AbortSignal): Promise<Unpacked>;
