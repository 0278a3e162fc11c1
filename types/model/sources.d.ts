import type { LoadOptions, ModelSource } from '../types.js';
/** Files of a model, as native code takes them. */
export interface ResolvedSource {
    model: string;
    unet?: string;
    textEncoder?: string;
    imageEncoder?: string;
    vae?: string;
    config?: Record<string, unknown>;
    /** Folder or file of the caller's own tokenizer. */
    tokenizer?: string;
    /** Name for reports and image metadata. */
    name: string;
}
/** The folder of the local Hugging Face cache, by the environment variables that every tool of theirs knows. */
export declare function huggingFaceCache(env?: NodeJS.ProcessEnv): string;
/** Resolves a source and its configuration; no source means the package's own model. */
export declare function resolveSource(source: ModelSource | undefined, config?: LoadOptions['config']): Promise<ResolvedSource>;
/** The part of a native load request that names files. */
export declare function sourceRequest({ model, unet, textEncoder, imageEncoder, vae, config }: ResolvedSource): {
    config?: Record<string, unknown> | undefined;
    vae?: string | undefined;
    imageEncoder?: string | undefined;
    textEncoder?: string | undefined;
    unet?: string | undefined;
    model: string;
};
