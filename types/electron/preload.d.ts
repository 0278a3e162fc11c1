/** The preload script's part: gives the page a way to ask for a port to the engine. It needs nothing but `electron`, so that a sandboxed preload script can be bundled with it. */
/** Options of {@link exposeDiffusion}. */
export interface ExposeOptions {
    /** Name in the page's `window`. Default `latentDiffusion`. */
    key?: string;
}
/**
 * Lets the page connect to the application's engine: `connectDiffusion()` of `node-latent-diffusion/electron/renderer` finds the way by the same key. The page gets one
 * function, which asks the main process for a port; that checks the page's origin.
 */
export declare function exposeDiffusion({ key }?: ExposeOptions): void;
