/**
 * Root of the package, from `dist/native` as from `lib/native`. What native code opens or loads cannot lie in an asar archive: packers put it beside it.
 */
export declare function packageRoot(folder?: string): string;
