import type { CallOptions, Device, Logger } from '../types.js';
/** The devices that this machine and the loaded binary have; the CPU is always among them. */
export declare function getDevices(): Promise<Device[]>;
/** Versions and abilities of the engine. */
export interface Versions {
    /** Of this package's engine. */
    version: string;
    ggml: string;
    cpu: {
        brand: string;
        features: string[];
        cores: number;
    };
    backends: string[];
}
/** What the loaded engine is. */
export declare function getVersions(): Versions;
/** Hears what the engine has to say (nothing is ever printed), or `null` to stop. An error thrown by the logger is ignored. */
export declare function setLogger(logger: Logger | null): void;
/** Options of {@link measurePeak}. */
export interface PeakOptions extends CallOptions {
    /** Default: the physical cores, within the container's CPU quota. */
    threads?: number;
    /** Length of each measurement. Default 0.3. */
    seconds?: number;
}
/** What a number format reaches on this processor when nothing but multiply-adds is done. */
export interface Peak {
    /** `f32`, `bf16`, `int8` ... */
    format: string;
    /** The instruction set used. */
    instructions: string;
    gflops: number;
}
/** Measures the arithmetic peak of the processor: what the speed of a network can be held against. */
export declare function measurePeak(options?: PeakOptions): Promise<Peak[]>;
