/** What travels through Redis: jobs, results and news. Types only. */
import type { Progress } from 'node-latent-diffusion'

/** Raised with every change that other versions do not understand. */
export const protocolVersion = 1

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

export type Priority = 'interactive' | 'batch'

/** A job as BullMQ keeps it. Images are keys of the object store, the seed is a decimal text. */
export interface JobData {
  version: typeof protocolVersion
  model: string
  /** Options of `generate()`. */
  options: Record<string, Json>
  /** Of the submitter, for whoever looks the job up later. */
  note?: Json
  /** Of the submission: others may use the same id. */
  nonce?: string
}

/** A finished image. */
export interface ResultImage {
  /** In the object store: the SHA-256 of the PNG file with the ending `.png`. */
  key: string
  /** Of the file. */
  bytes: number
  width: number
  height: number
  /** Texts of the PNG; `parameters` has the settings in A1111's format. */
  metadata: Record<string, string>
}

export interface JobResult {
  images: ResultImage[]
  /** Of the first image, decimal. */
  seed: string
  /** Options with all defaults, without images; the seed as text. */
  options: Record<string, Json>
  /** `sharedBy`: jobs that were made together and have `sampleMs` in common; absent in results of older workers. */
  timings: { loadMs: number; encodeMs: number; sampleMs: number; decodeMs: number; sharedBy?: number }
  warnings: { code: string; message: string }[]
  /** Tokens of the prompt, all windows together; 0 for models without text. */
  promptTokens: number
  /** Name of the worker. */
  worker: string
}

/** Events of a job, published on its channel. They are not kept: who listens late gets the later ones. */
export type JobNews =
  | { type: 'started'; worker: string }
  | ({ type: 'progress' } & Progress)
  /** `png`: base64. */
  | { type: 'preview'; png: string; step: number; steps: number; index: number }
  /** The job has an outcome, or waits again. */
  | { type: 'changed' }
