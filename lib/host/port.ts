/** Transport of messages between a host and its engine, for any kind of process or thread. */
import type { EngineMessage, HostMessage } from '../rpc/protocol.js'

/** How an engine ended. */
export interface EngineExit {
  exitCode?: number | null
  signal?: string | null
  /** Why it could not be started. */
  cause?: unknown
  /** Its last output to stderr. */
  stderr?: string
}

/** The host's end. */
export interface EngineHandle {
  send(message: HostMessage): void
  /** Whether the engine keeps the host's process alive. */
  hold(keep: boolean): void
  /** Kills it immediately. `onExit` is called when it has ended. */
  kill(): void
}

/** Callbacks of the host. `onExit` is called once, after the last message. */
export interface EngineListener {
  onMessage(message: EngineMessage): void
  onExit(exit: EngineExit): void
}

export type StartEngine = (listener: EngineListener) => EngineHandle

/** The engine's end. */
export interface EnginePort {
  send(message: EngineMessage, transfer?: ArrayBuffer[]): void
  listen(onMessage: (message: HostMessage) => void): void
  /** Ends the process or thread, or closes the channel. */
  exit(): void
}
