/** The engine's end of a port of worker threads. */
import type { MessagePort } from 'node:worker_threads'
import type { HostMessage } from '../rpc/protocol.js'
import type { EnginePort } from './port.js'

export function portOfThread(port: MessagePort, exit: () => void): EnginePort {
  return {
    send: (message, transfer = []) => port.postMessage(message, transfer),
    listen: (onMessage) => void port.on('message', (message: HostMessage) => onMessage(message)),
    exit,
  }
}
