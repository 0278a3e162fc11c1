/** Flags that every command with a model has, and how they become load options. */
import type { LoadOptions, ModelSource } from '../index.js';
import { type FlagValues } from './command.js';
export declare const sourceFlags: {
    readonly model: {
        readonly kind: "text";
        readonly short: "m";
        readonly value: "FILE";
        readonly help: "checkpoint, diffusers folder or hf:owner/name in the local cache; default: the model inside the package";
    };
    readonly unet: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "U-Net in place of the model's";
    };
    readonly 'text-encoder': {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "text encoder in place of the model's";
    };
    readonly 'image-encoder': {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "CLIP with its image tower, for retrieval-augmented models";
    };
    readonly vae: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "first stage in place of the model's";
    };
    readonly tokenizer: {
        readonly kind: "text";
        readonly value: "DIR";
        readonly help: "tokenizer files in place of the model's";
    };
    readonly config: {
        readonly kind: "text";
        readonly value: "YAML";
        readonly help: "configuration; the .yaml beside the model is taken by itself";
    };
    readonly ema: {
        readonly kind: "switch";
        readonly help: "use the EMA weights of a training checkpoint";
    };
    readonly 'no-ema': {
        readonly kind: "switch";
        readonly help: "read the raw weights of a training checkpoint";
    };
};
export declare const loadFlags: {
    readonly device: {
        readonly kind: "text";
        readonly value: "NAME";
        readonly help: "auto, cpu, cuda, cuda:1 ... (see: latent devices)";
    };
    readonly dtype: {
        readonly kind: "text";
        readonly value: "TYPE";
        readonly help: "weights in memory: f32 f16 bf16 q8_0 q6_k q5_k q5_0 q4_k q4_0, int8 (8-bit arithmetic too), by part: unet=q8_0,vae=f16";
    };
    readonly precision: {
        readonly kind: "text";
        readonly value: "P";
        readonly help: "fast (default) or exact: float32 throughout";
    };
    readonly memory: {
        readonly kind: "text";
        readonly value: "M";
        readonly help: "auto (default), fast or low: one part at a time";
    };
    readonly 'max-bytes': {
        readonly kind: "number";
        readonly value: "N";
        readonly help: "a bound on memory, kept or refused with what would fit";
    };
    readonly 'vae-tiling': {
        readonly kind: "switch";
        readonly help: "decode in overlapping tiles";
    };
    readonly threads: {
        readonly kind: "number";
        readonly value: "N";
        readonly help: "threads; default: the physical cores";
    };
    readonly model: {
        readonly kind: "text";
        readonly short: "m";
        readonly value: "FILE";
        readonly help: "checkpoint, diffusers folder or hf:owner/name in the local cache; default: the model inside the package";
    };
    readonly unet: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "U-Net in place of the model's";
    };
    readonly 'text-encoder': {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "text encoder in place of the model's";
    };
    readonly 'image-encoder': {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "CLIP with its image tower, for retrieval-augmented models";
    };
    readonly vae: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "first stage in place of the model's";
    };
    readonly tokenizer: {
        readonly kind: "text";
        readonly value: "DIR";
        readonly help: "tokenizer files in place of the model's";
    };
    readonly config: {
        readonly kind: "text";
        readonly value: "YAML";
        readonly help: "configuration; the .yaml beside the model is taken by itself";
    };
    readonly ema: {
        readonly kind: "switch";
        readonly help: "use the EMA weights of a training checkpoint";
    };
    readonly 'no-ema': {
        readonly kind: "switch";
        readonly help: "read the raw weights of a training checkpoint";
    };
};
/** For the commands that do nothing with the model inside the package. */
export declare const requiredModel: {
    readonly model: {
        readonly help: "checkpoint, diffusers folder or hf:owner/name in the local cache";
        readonly kind: "text";
        readonly short: "m";
        readonly value: "FILE";
    };
};
export declare const sizeFlags: {
    readonly width: {
        readonly kind: "number";
        readonly help: "pixels; default: the model's";
    };
    readonly height: {
        readonly kind: "number";
        readonly help: "pixels; default: the model's";
    };
};
/** The model that the flags name; undefined, which the API takes for the package's own, where they name none. */
export declare function readSource(values: FlagValues<typeof sourceFlags>, positional?: string): ModelSource | undefined;
/** How the files are to be read: the configuration, and the weights that `--ema` or `--no-ema` asks for; without `ema` where neither is given. */
export declare function readFileOptions(values: Pick<FlagValues<typeof sourceFlags>, 'config' | 'ema' | 'no-ema'>): Pick<LoadOptions, 'config' | 'ema'>;
export declare function readLoadOptions(values: FlagValues<typeof loadFlags>): LoadOptions;
