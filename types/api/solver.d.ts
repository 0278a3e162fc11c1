import { Latents } from './latents.js';
import { evaluationKeys } from '../options/options.js';
import type { ModelSpec, NoiseScheduleSpec, Prediction, SamplingOptions } from '../types.js';
/** Options of {@link createSolver}: the sampling options, and what a model would have said about its training. */
export interface SolverOptions extends Omit<SamplingOptions, (typeof evaluationKeys)[number]> {
    sampler: NonNullable<SamplingOptions['sampler']>;
    /** `pipe.info.spec`: gives `prediction` and the noise schedule. */
    spec?: Pick<ModelSpec, 'prediction' | 'schedule'>;
    /** What `step()` is given. Default: that of `spec`, else `eps`. */
    prediction?: Prediction;
    /** Training betas, or their named form. Default: those of `spec`, else Stable Diffusion's. */
    betas?: Float32Array | readonly number[];
    noiseSchedule?: Partial<NoiseScheduleSpec>;
    /** Image to image: start at this step of the schedule. Default 0. */
    startStep?: number;
    /** Image to image: share of the schedule that is run, in place of `startStep`. */
    strength?: number;
}
/** One evaluation of the network in a run. */
export interface Evaluation {
    /** What the network is told. */
    timestep: number;
    /** Noise level at that point. */
    sigma: number;
    /** The step it belongs to; solvers of second order make two per step. */
    step: number;
}
/**
 * A solver on its own, the partner of `pipe.predict()`; no network needed.
 * For evaluation i = 0, 1, 2 ...: `input = scaleInput(x, i)`, ask the network at `evaluations[i].timestep`, `step(output, x, i)`.
 * Text to image starts from unit noise times `initNoiseSigma`.
 */
export declare class Solver {
    #private;
    /** Timestep of every evaluation. */
    readonly timesteps: readonly number[];
    /** Noise levels of the steps and the final one, descending. */
    readonly sigmas: readonly number[];
    readonly initNoiseSigma: number;
    readonly evaluations: readonly Evaluation[];
    private constructor();
    /** The network's input for evaluation i, as a new array or new latents; `x` is left as it is. */
    scaleInput<T extends Float32Array | Latents>(x: T, i: number): T;
    /**
     * Moves `x` on by one evaluation, in place, and returns it. Evaluations are taken in order, each once.
     * @param modelOutput the network's raw output, after guidance; as long as `x`
     * @param noise standard normal numbers in place of the solver's own generator, for solvers that draw
     */
    step<T extends Float32Array | Latents>(modelOutput: Float32Array | Latents, x: T, i: number, noise?: Float32Array | Latents): T;
}
/** Makes a solver. Unknown names of samplers and schedules are refused with the known ones listed. */
export declare function createSolver(options: SolverOptions): Solver;
