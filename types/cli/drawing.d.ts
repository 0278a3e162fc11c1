import { type DiffusionPipeline, type GenerateOptions, type GenerateResult } from '../index.js';
import { type FlagValues, type Io, type reportFlags } from './command.js';
export declare const promptFlags: {
    readonly 'negative-prompt': {
        readonly kind: "text";
        readonly short: "n";
        readonly help: "what to keep out";
    };
    readonly 'clip-skip': {
        readonly kind: "number";
        readonly help: "1 is the last layer of the text encoder, 2 the last but one";
    };
    readonly emphasis: {
        readonly kind: "text";
        readonly value: "NAME";
        readonly help: "original (default), no_norm or comfy";
    };
};
export declare const samplingFlags: {
    readonly steps: {
        readonly kind: "number";
        readonly help: "network steps; default: the model's";
    };
    readonly 'guidance-scale': {
        readonly kind: "number";
        readonly help: "1 is no guidance; default: the model's, 7.5 for Stable Diffusion";
    };
    readonly 'guidance-rescale': {
        readonly kind: "number";
        readonly help: "0 to 1; default 0";
    };
    readonly seed: {
        readonly kind: "text";
        readonly value: "N";
        readonly help: "0 to 2^64-1; default: random, printed at the end";
    };
    readonly count: {
        readonly kind: "number";
        readonly help: "pictures, with seeds N, N+1 ...";
    };
    readonly sampler: {
        readonly kind: "text";
        readonly value: "NAME";
        readonly help: "ddim, euler, euler_a, heun, dpmpp_2m, unipc ... (all of them below); default: the model's";
    };
    readonly schedule: {
        readonly kind: "text";
        readonly value: "NAME";
        readonly help: "karras, ays ... (below), or falling noise levels: sigmas:14.6,7.1,2.2,0; default: the sampler's";
    };
    readonly eta: {
        readonly kind: "number";
        readonly help: "share of fresh noise per step";
    };
    readonly 'guidance-interval': {
        readonly kind: "text";
        readonly value: "A,B";
        readonly help: "part of the steps that is guided, as fractions: 0,0.7; default 0,1";
    };
    readonly 'deep-cache': {
        readonly kind: "text";
        readonly value: "N[,B]";
        readonly help: "run the whole network at every N-th step only, in between what is outside of branch B (0)";
    };
    readonly rng: {
        readonly kind: "text";
        readonly value: "NAME";
        readonly help: "philox (default, as A1111) or mt19937 (as diffusers and ComfyUI)";
    };
};
export declare const previewFlags: {
    readonly preview: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "rewrite this picture while sampling";
    };
    readonly 'preview-every': {
        readonly kind: "number";
        readonly help: "steps between previews; default 1";
    };
};
export declare const samplingNotes: string;
type DrawingValues = FlagValues<typeof promptFlags> & FlagValues<typeof samplingFlags> & FlagValues<typeof previewFlags> & FlagValues<typeof reportFlags>;
/** Options of generate() from the shared flags. */
export declare function readDrawingOptions(values: DrawingValues): GenerateOptions;
/** The folder that a file is to be written to. */
export declare function checkFolder(file: string, flag: string): Promise<void>;
/** Says what would keep a picture from being saved before the hours of drawing it, not after. */
export declare function checkTarget(file: string, flag: string): Promise<void>;
/** out.png for one picture; out-1.png, out-2.png ... for several. */
export declare function outputName(file: string, index: number, count: number): string;
/** Saves the pictures and says where they are, on standard output. */
export declare function saveAndReport(result: GenerateResult, output: string, pipe: DiffusionPipeline, values: Pick<DrawingValues, 'json' | 'quiet'>, io: Io): Promise<void>;
export {};
