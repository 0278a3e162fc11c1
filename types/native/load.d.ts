import type { NativeAddon } from './contract.js';
/** Name of the binary that fits, out of a folder in prebuildify's naming (`NAME[.TAG...].node`); files for another C library are passed over. */
export declare function chooseBinary(files: readonly string[], system: string | undefined): string | undefined;
/** Where the binary may be, in the order of trying: the environment's word, a build in this folder, a prebuilt binary. */
export declare function candidates(root?: string, env?: NodeJS.ProcessEnv): {
    path: string;
    exists: boolean;
}[];
/** Loads the first candidate that can be loaded. Throws {@link BinaryNotFoundError}, or the binary's own refusal as it is. */
export declare function loadAddon(root?: string, env?: NodeJS.ProcessEnv): NativeAddon;
