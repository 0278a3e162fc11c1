/**
 * The page's side of an engine in an Electron application. Browser code: one module without dependencies, for any bundler or a plain `<script type="module">`.
 */
import type { GenerateWarning, HostGenerateOptions, HostStatus, LoraReport, ModelPart, Progress, Timings } from '../../index.js';
/** A picture to start from: its file, or what the page shows. */
export type PageImageInput = Blob | Uint8Array | ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas;
/** Options of {@link Diffusion.generate}: those of `DiffusionHost.generate()`, with pictures as a page has them. */
export interface PageGenerateOptions extends Omit<HostGenerateOptions, 'image' | 'mask' | 'loras' | 'onProgress' | 'preview'> {
    image?: PageImageInput;
    mask?: PageImageInput;
    preview?: {
        every?: number;
        method?: 'linear' | 'vae';
    };
}
/** A finished picture. */
export interface DiffusionImage {
    /** A PNG file with the settings inside, as A1111 writes them. */
    readonly blob: Blob;
    readonly width: number;
    readonly height: number;
    readonly metadata: Readonly<Record<string, string>>;
    /** To draw on a canvas. The caller closes it. */
    bitmap(): Promise<ImageBitmap>;
}
/** Result of {@link Diffusion.generate}. */
export interface PageGenerateResult {
    images: DiffusionImage[];
    seed: bigint;
    /** With every default filled in, but for the pictures that were given. */
    options: Record<string, unknown>;
    timings: Timings;
    float32Parts: ModelPart[];
    loras: LoraReport[];
    warnings: GenerateWarning[];
}
/** What a job tells while it waits and runs. */
export type PageJobEvent = {
    type: 'queued';
    position: number;
} | {
    type: 'started';
} | ({
    type: 'progress';
} & Progress)
/** The caller closes the bitmap. */
 | {
    type: 'preview';
    bitmap: ImageBitmap;
    step: number;
    steps: number;
    index: number;
};
/** An error of the engine; `code` is that of the package's error classes. */
export declare class DiffusionError extends Error {
    name: string;
    readonly code: string;
    readonly details: Readonly<Record<string, unknown>>;
    constructor(code: string, message: string, details?: Readonly<Record<string, unknown>>);
}
/** Options of {@link connectDiffusion}. */
export interface ConnectOptions {
    /** The key of `exposeDiffusion()`. Default `latentDiffusion`. */
    key?: string;
    /** Milliseconds to wait for the main process. Default 10000. */
    timeoutMs?: number;
}
/** A call of {@link Diffusion.generate}: a promise of its result and a stream of events, each of which may be left alone. */
export declare class PageJob implements PromiseLike<PageGenerateResult>, AsyncIterable<PageJobEvent> {
    #private;
    /** Ends the job, waiting or running; it is rejected with `reason` at once. */
    cancel(reason?: unknown): void;
    then<A = PageGenerateResult, B = never>(onResult?: ((result: PageGenerateResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B>;
    catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<PageGenerateResult | B>;
    finally(action?: (() => void) | null): Promise<PageGenerateResult>;
    /** The events until the end; throws what the job is rejected with. Of events not taken in time the newest of each type and phase is kept. */
    [Symbol.asyncIterator](): AsyncGenerator<PageJobEvent, void, void>;
}
/** The application's engine, from a page. Made by {@link connectDiffusion}. */
export declare class Diffusion {
    #private;
    /** Names of the models that jobs may use; the first is the default. */
    readonly models: readonly string[];
    /** What the engine is doing. */
    get status(): HostStatus;
    on(_event: 'status', listener: (status: HostStatus) => void): this;
    off(_event: 'status', listener: (status: HostStatus) => void): this;
    /** Makes pictures when it is the job's turn. The main process checks the options, and that they keep within its limits. */
    generate(options?: PageGenerateOptions): PageJob;
    /** Cancels the page's jobs and ends the connection. */
    close(): void;
}
/**
 * Connects the page to the application's engine, which `createDiffusionHost()` of the main process serves and `exposeDiffusion()` of the preload script lets through.
 * @throws DiffusionError `ERR_CONNECT` where the preload script has not been run, the origin is not allowed, or nothing answers in time
 */
export declare function connectDiffusion({ key, timeoutMs }?: ConnectOptions): Promise<Diffusion>;
