/** For the preload script: lets the page request a port to the engine. It needs only `electron`, so it can be bundled into a sandboxed preload script. */
/** Options of {@link exposeDiffusion}. */
export interface ExposeOptions {
    /** Name in the page's `window`. Default `latentDiffusion`. */
    key?: string;
}
/**
 * Lets the page connect to the application's engine with `connectDiffusion()` of `node-latent-diffusion/electron/renderer` and the same key. The page gets one
 * function, which requests a port from the main process, which checks the page's origin.
 */
export declare function exposeDiffusion({ key }?: ExposeOptions): void;
