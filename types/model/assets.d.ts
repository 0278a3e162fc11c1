/**
 * A compressed text asset, by its name in assets/ or by an absolute path.
 * @throws DiffusionError `ERR_IO` where it is missing or broken
 */
export declare function readAsset(name: string, what: string): string;
