/**
 * Every native name and type, in one place. `native/bindings` implements exactly this.
 *
 * Requests cross as one JSON text (all validation and all defaults are TypeScript's work), tensors as typed arrays beside it.
 * Native code never keeps a reference to a typed array after the call that took it returned: it copies.
 * Errors are thrown (or rejected) as plain `Error` objects with `code` (a string of native/core/error.h) and `details` (JSON text);
 * `call.ts` turns them into the public classes.
 */
/**
 * A queued or running native operation. Jobs of one device (and one environment: main thread or worker) run one after the other, in the order of the calls.
 * The promise keeps the process alive until it settles. `cancel()` may be called at any time, any number of times; the promise then rejects with ERR_ABORTED: at once
 * while the job waits, soon while it runs.
 */
export interface NativeJob<T> {
    readonly promise: Promise<T>;
    cancel(): void;
}
export type NativePhase = 'load' | 'encode' | 'sample' | 'decode' | 'convert';
export interface NativeCallbacks {
    /** Coalesced: a slow listener sees the latest state, the last event of a phase is never dropped. */
    onProgress?: (phase: NativePhase, step: number, steps: number) => void;
    /** An 8-bit interleaved RGB preview of batch row `index` after `step` finished steps. */
    onPreview?: (step: number, index: number, width: number, height: number, data: Uint8Array) => void;
}
/** Shape [n, c, h, w]. All methods throw ERR_DISPOSED after dispose() or after the owning pipeline's dispose(). */
export interface NativeLatents {
    readonly shape: [number, number, number, number];
    readonly location: string;
    read(into: Float32Array): void;
    write(from: Float32Array): void;
    clone(): NativeLatents;
    dispose(): void;
}
/** Shape [1, tokens, dim]. */
export interface NativeConditioning {
    readonly tokens: number;
    readonly dim: number;
    readonly truncated: boolean;
    read(into: Float32Array): void;
    dispose(): void;
}
export interface NativeTensorResult {
    shape: number[];
    data: Float32Array;
}
export interface NativePicture {
    width: number;
    height: number;
    channels: number;
    data: Uint8Array;
}
export interface NativeGenerateResult {
    images: NativePicture[];
    tensor: NativeTensorResult | null;
    /** JSON: { options, timings: { loadMs, encodeMs, sampleMs, decodeMs } } */
    summary: string;
}
export interface NativeStep {
    index: number;
    steps: number;
    sigma: number;
    timestep: number;
    done: boolean;
}
/**
 * A sampling loop in the caller's hands. `latents` is the live state: it may be read and written between steps; while a step or preview is queued or running
 * its methods throw ERR_BUSY. It stays readable after the sampler's dispose().
 */
export interface NativeSampler {
    readonly steps: number;
    readonly latents: NativeLatents;
    step(callbacks: NativeCallbacks): NativeJob<NativeStep>;
    preview(method: 'linear' | 'vae', index: number): NativeJob<NativePicture>;
    dispose(): void;
}
export interface NativePipeline {
    /** JSON: see PipelineInfo. */
    info(): string;
    /** JSON text of the tokenizer inside a GGUF file, or ''. */
    tokenizer(): string;
    /** request: { chunks: [{ ids, weights }], emphasis, clipSkip, truncated } */
    encodePrompt(request: string, callbacks: NativeCallbacks): NativeJob<NativeConditioning>;
    /** request: { shape: [n,3,h,w], mode: 'sample' | 'mean' | 'moments', seed: string, rng } */
    encodeImage(request: string, image: Float32Array, callbacks: NativeCallbacks): NativeJob<NativeLatents>;
    /** request: { width, height, batch, seed: string, rng } */
    createLatents(request: string): NativeLatents;
    /** request: { timesteps: number[], guidanceScale } */
    predict(request: string, latents: NativeLatents, conditioning: NativeConditioning | null, unconditional: NativeConditioning | null, concat: NativeLatents | null): NativeJob<NativeLatents>;
    /** request: NativeSamplingRequest. `image`: clean latents for image to image, or null. */
    startSampling(request: string, start: NativeLatents, image: NativeLatents | null, conditioning: NativeConditioning | null, unconditional: NativeConditioning | null): NativeSampler;
    /** request: { output: 'image' | 'float' } */
    decode(request: string, latents: NativeLatents, callbacks: NativeCallbacks): NativeJob<{
        images: NativePicture[];
        tensor: NativeTensorResult | null;
    }>;
    /** request: NativeGenerateRequest; arrays: planar float32 beside it, shapes inside the request. */
    generate(request: string, arrays: {
        image?: Float32Array;
        mask?: Float32Array;
        latents?: Float32Array;
    }, callbacks: NativeCallbacks): NativeJob<NativeGenerateResult>;
    /** request: { width, height, guided }. JSON: { weights, textEncoder, unet, encode, decode: { bytes, flops } } of one call, from headers alone. */
    estimate(request: string): string;
    /** JSON: { parts: { unet, textEncoder, vae }, compute, total, processPeak } in bytes. */
    memoryUsage(): string;
    unload(): NativeJob<void>;
    /** Cancels nothing: waits for queued and running work, then frees everything. Idempotent. */
    dispose(): NativeJob<void>;
}
/**
 * A solver alone (no network): the partner of predict(). Data is row-major float32 of any length, the same for every call.
 * Evaluations are taken in order, each once: `evaluation` must be the next one. A solver with churn adds its noise to `x` in the first call of an evaluation.
 */
export interface NativeSolver {
    /** JSON: { timesteps: number[], sigmas: number[], initNoiseSigma, evaluations: [{ timestep, sigma, step }] } */
    info(): string;
    scaleInput(x: Float32Array, evaluation: number, out: Float32Array): void;
    /** Advances x in place by one network evaluation. `noise` (same length) replaces the solver's own generator. */
    step(modelOutput: Float32Array, x: Float32Array, evaluation: number, noise: Float32Array | null): void;
}
export interface NativeAddon {
    /** JSON: { version, ggml, cpu: { brand, features: string[], cores }, backends: string[] } */
    versions(): string;
    /** JSON: Device[] */
    getDevices(): string;
    setLogger(logger: ((level: 'debug' | 'info' | 'warn' | 'error', message: string) => void) | null): void;
    /** request: NativeLoadRequest (weights are not read). Resolves to JSON: ModelInfo. */
    inspect(request: string): NativeJob<string>;
    /** request: { source: NativeLoadRequest, destination, type, overrides: [[pattern, type]], metadata: { [key]: string }, tokenizer: string } */
    convert(request: string, callbacks: NativeCallbacks): NativeJob<string>;
    /** request: { seed: string, shape: number[], rng: 'philox' | 'mt19937', offset?: number }; fills `out`. */
    createNoise(request: string, out: Float32Array): void;
    createSolver(request: string): NativeSolver;
    /** request: { threads, seconds }. Arithmetic peak of the machine; resolves to JSON: [{ format, instructions, gflops }]. */
    measurePeak(request: string): NativeJob<string>;
    loadPipeline(request: string, callbacks: NativeCallbacks): NativeJob<NativePipeline>;
    latentsFrom(shape: number[], data: Float32Array): NativeLatents;
    conditioningFrom(shape: number[], data: Float32Array): NativeConditioning;
}
/** The JSON of loadPipeline / inspect; mirrors native/pipeline/pipeline.h LoadRequest. */
export interface NativeLoadRequest {
    model: string;
    unet?: string;
    textEncoder?: string;
    vae?: string;
    config?: unknown;
    spec?: unknown;
    ema?: boolean;
    device: string;
    threads: number;
    precision: 'exact' | 'fast';
    dtype: Partial<Record<'unet' | 'textEncoder' | 'vae', string>>;
    memory: {
        mode: 'auto' | 'fast' | 'low';
        maxBytes?: number;
        vaeTiling?: boolean;
        vaeTileSize?: number;
    };
    firstStageOnly?: boolean;
}
/** Mirrors SamplingRequest. */
export interface NativeSamplingRequest {
    sampler: string;
    schedule: string;
    sigmas?: number[];
    steps: number;
    guidanceScale: number;
    guidanceRescale: number;
    eta: number;
    seed: string;
    rng: 'philox' | 'mt19937';
    strength: number;
    extra?: Record<string, unknown>;
}
/** Mirrors GenerateRequest. */
export interface NativeGenerateRequest extends NativeSamplingRequest {
    prompt: NativePromptTokens;
    negative: NativePromptTokens;
    width: number;
    height: number;
    count: number;
    imageShape?: number[];
    maskShape?: number[];
    latentsShape?: number[];
    previewEvery: number;
    previewMethod: 'linear' | 'vae';
    outputFloat: boolean;
}
export interface NativePromptTokens {
    chunks: {
        ids: number[];
        weights: number[];
    }[];
    emphasis: 'original' | 'no_norm' | 'comfy';
    clipSkip: number;
    truncated: boolean;
}
/** createSolver: the sampling request (guidance is not its business) and what a model would have said about its training. */
export interface NativeSolverRequest extends Omit<NativeSamplingRequest, 'guidanceScale' | 'guidanceRescale' | 'strength'> {
    prediction: 'eps' | 'v' | 'sample';
    noiseSchedule?: {
        betaSchedule?: string;
        betaStart?: number;
        betaEnd?: number;
        timesteps?: number;
        zeroTerminalSnr?: boolean;
        betas?: number[];
    };
    /** Image to image by share of the schedule, or by the step to start at. */
    imageToImage?: boolean;
    strength?: number;
    startStep?: number;
    /** Whose arithmetic, see native/samplers/solver.h. */
    dialect?: string;
    timesteps?: number[];
}
