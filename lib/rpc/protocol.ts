/** The messages between a host and its engine, the same for child processes and worker threads. */
import type { Progress } from '../types.js'
import type { Wire } from './wire.js'
import type { WireError } from './wire-error.js'

/** Both sides must use the same version. They come from one package, so a different number means that two copies of it are installed. */
export const protocolVersion = 3

/** Maximum number of previews sent without acknowledgement; further ones are dropped. */
export const previewCredit = 2

/** The model of a request, with everything needed to load it, so that a newly started engine can serve any request. */
export interface WireModel {
  name: string
  source: Wire
  options: Wire
}

export interface GenerateMessage {
  type: 'generate'
  id: number
  model: WireModel
  options: Wire
  preview: Wire
}

/** Messages of the host. Every request except `cancel`, `seen` and `together` is answered by one `result` or `error` with its `id`. */
export type HostMessage =
  | GenerateMessage
  /** Several at once. Each is answered by its own `result` or `error`. */
  | { type: 'together'; requests: GenerateMessage[] }
  | { type: 'load'; id: number; model: WireModel }
  | { type: 'unload'; id: number; model: string }
  | { type: 'memory'; id: number; model: string }
  /** Tokenises a prompt; answered during other work. */
  | { type: 'tokenize'; id: number; model: WireModel; prompt: string }
  /** Describes a model from its files' headers without loading it. */
  | { type: 'describe'; id: number; model: WireModel }
  | { type: 'estimate'; id: number; model: WireModel; request: Wire }
  | { type: 'cancel'; id: number }
  /** Acknowledges a preview. */
  | { type: 'seen'; id: number }
  /** Frees everything and ends. Not answered; the engine exits. */
  | { type: 'close' }

/** Messages of the engine. `hello` comes first. */
export type EngineMessage =
  | { type: 'hello'; protocol: number; pid: number }
  | { type: 'progress'; id: number; progress: Progress }
  | { type: 'preview'; id: number; image: Wire; step: number; steps: number; index: number }
  /** A model has been loaded, in `ms` milliseconds. */
  | { type: 'loaded'; model: string; ms: number }
  /** `models`: the loaded models. */
  | { type: 'result'; id: number; value: Wire; models: string[] }
  | { type: 'error'; id: number; error: WireError; models: string[] }
