/** The messages between a host and its engine, the same for child processes and worker threads. */
import type { Progress } from '../types.js'
import type { Wire } from './wire.js'
import type { WireError } from './wire-error.js'

/** Both sides must speak the same; they come from one package, so another number means that two copies of it are mixed. */
export const protocolVersion = 1

/** Previews that may be on their way to a host that has not taken them; further ones are dropped. */
export const previewCredit = 2

/** The model that a request is for, with all that loading takes, so that an engine which was just started can serve any request. */
export interface WireModel {
  name: string
  source: Wire
  options: Wire
}

/** What a host asks for. Every request but `cancel` and `seen` is answered with one `result` or `error` of its `id`. */
export type HostMessage =
  | { type: 'generate'; id: number; model: WireModel; options: Wire; preview: Wire }
  | { type: 'load'; id: number; model: WireModel }
  | { type: 'unload'; id: number; model: string }
  | { type: 'memory'; id: number; model: string }
  /** A prompt as the text encoder will see it; answered beside the work of others. */
  | { type: 'tokenize'; id: number; model: WireModel; prompt: string }
  /** What the headers of the model's files say of it: nothing is loaded. */
  | { type: 'describe'; id: number; model: WireModel }
  | { type: 'estimate'; id: number; model: WireModel; request: Wire }
  | { type: 'cancel'; id: number }
  /** A preview was taken. */
  | { type: 'seen'; id: number }
  /** Free everything and end. Not answered; the engine's end tells. */
  | { type: 'close' }

/** What an engine says. `hello` comes first. */
export type EngineMessage =
  | { type: 'hello'; protocol: number; pid: number }
  | { type: 'progress'; id: number; progress: Progress }
  | { type: 'preview'; id: number; image: Wire; step: number; steps: number; index: number }
  /** `models`: those that are loaded now. */
  | { type: 'result'; id: number; value: Wire; models: string[] }
  | { type: 'error'; id: number; error: WireError; models: string[] }
