/**
 * Root of the package, from a folder of `dist/` as of `lib/`. What native code opens or loads cannot lie in an asar archive: packers put it beside it.
 */
export declare function packageRoot(folder?: string): string;
