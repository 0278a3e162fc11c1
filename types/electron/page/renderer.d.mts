/**
 * The page's side of an engine in an Electron application. Browser code: one module without dependencies, for any bundler or a plain `<script type="module">`.
 */
import type { GenerateWarning, HostGenerateOptions, HostStatus, LoraReport, ModelPart, Progress, Timings } from '../../index.js';
/** A start image: a file, or image data of the page. */
export type PageImageInput = Blob | Uint8Array | ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas;
/** Options of {@link Diffusion.generate}: those of `DiffusionHost.generate()`, with images as a page can provide them. */
export interface PageGenerateOptions extends Omit<HostGenerateOptions, 'image' | 'mask' | 'loras' | 'onProgress' | 'preview'> {
    image?: PageImageInput;
    mask?: PageImageInput;
    preview?: {
        every?: number;
        method?: 'linear' | 'vae';
    };
}
/** A finished image. */
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
    /** With all defaults, without the input images. */
    options: Record<string, unknown>;
    timings: Timings;
    float32Parts: ModelPart[];
    loras: LoraReport[];
    warnings: GenerateWarning[];
}
/** Events of a job. */
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
/** A call of {@link Diffusion.generate}: a promise of its result, and a stream of events. Either may be ignored. */
export declare class PageJob implements PromiseLike<PageGenerateResult>, AsyncIterable<PageJobEvent> {
    #private;
    /** Cancels the job, waiting or running; it rejects with `reason` immediately. */
    cancel(reason?: unknown): void;
    then<A = PageGenerateResult, B = never>(onResult?: ((result: PageGenerateResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B>;
    catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<PageGenerateResult | B>;
    finally(action?: (() => void) | null): Promise<PageGenerateResult>;
    /** The events until the end; throws the job's error. If events are not read in time, only the newest of each type and phase is kept. */
    [Symbol.asyncIterator](): AsyncGenerator<PageJobEvent, void, void>;
}
/** The application's engine, for a page. Created by {@link connectDiffusion}. */
export declare class Diffusion {
    #private;
    /** Names of the models that jobs may use; the first is the default. */
    readonly models: readonly string[];
    /** Status of the engine. */
    get status(): HostStatus;
    on(_event: 'status', listener: (status: HostStatus) => void): this;
    off(_event: 'status', listener: (status: HostStatus) => void): this;
    /** Queues a job that generates images. The main process checks the options and its limits. */
    generate(options?: PageGenerateOptions): PageJob;
    /** Cancels the page's jobs and ends the connection. */
    close(): void;
}
/**
 * Connects the page to the application's engine, provided by `createDiffusionHost()` in the main process and `exposeDiffusion()` in the preload script.
 * @throws DiffusionError `ERR_CONNECT` if the preload script has not run, the origin is not allowed, or there is no answer in time
 */
export declare function connectDiffusion({ key, timeoutMs }?: ConnectOptions): Promise<Diffusion>;
