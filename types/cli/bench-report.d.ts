/** One run of `latent bench`: what it measures and how that is shown. */
import { type Kernels, type OperationTime, type Peak } from '../index.js';
import { type FlagValues, type Io } from './command.js';
/** Flags of the command. */
export declare const benchFlags: {
    readonly repeats: {
        readonly kind: "number";
        readonly help: "network steps that are timed; the median counts (default 3)";
    };
    readonly profile: {
        readonly kind: "switch";
        readonly help: "also what each operation of a step and of the decoder takes";
    };
    readonly kernels: {
        readonly kind: "text";
        readonly value: "SET";
        readonly help: "with kernels up to this set of the processor's (avx2 ...), or ggml: its operations in place of ours";
    };
    readonly all: {
        readonly kind: "switch";
        readonly help: "one run after the other with ggml's operations, with every set that this processor has, and in int8";
    };
    readonly json: {
        readonly kind: "switch";
        readonly help: "as JSON";
    };
    readonly help: {
        readonly kind: "switch";
        readonly short: "h";
        readonly help: "show this";
    };
    readonly width: {
        readonly kind: "number";
        readonly help: "pixels; default: the model's";
    };
    readonly height: {
        readonly kind: "number";
        readonly help: "pixels; default: the model's";
    };
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
export type BenchValues = FlagValues<typeof benchFlags>;
/** One timed stage. */
export interface Row {
    stage: string;
    ms: number;
    gflop?: number;
    gflops?: number;
    /** Share of the machine's peak in `peakFormat`, measured in the same run. */
    ofPeak?: number;
    peakFormat?: string;
}
export interface Report {
    /** When it was made, ISO 8601. */
    date: string;
    /** Of this package. */
    version: string;
    model: string;
    kind: string;
    /** Of the files: `compvis`, `diffusers`, `gguf` ... */
    layout: string;
    /** Weight types in memory, by part. */
    dtypes: Record<string, string>;
    device: string;
    threads: number;
    precision: string;
    /** The sets that the engine chose, and whether LATENT_OPS forces ggml's operations in their place; absent where no CPU computed. */
    kernels?: Omit<Kernels, 'available'>;
    width: number;
    height: number;
    peak: Peak[];
    stages: Row[];
    /** With --profile: of one step and one decoding. */
    operations?: Record<'step' | 'decode', OperationTime[]>;
    /** Up to the decoded picture: image to image, which encodes too, may take more. */
    peakRssBytes: number;
}
/** The sets that the engine uses on the CPU. Throws where the environment names one that does not exist. */
export declare function chosenKernels(): Promise<Kernels>;
/** Loads the model of the flags and times its stages. */
export declare function measure(values: BenchValues, model: string | undefined, { signal }: Io): Promise<Report>;
/** A report for people. */
export declare function render({ model, device, precision, width, height, peak, stages, operations, peakRssBytes }: Report): string;
