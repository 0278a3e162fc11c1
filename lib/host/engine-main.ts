/** The program of an engine's process or thread. */
import { isMainThread, parentPort } from 'node:worker_threads'
import type { HostMessage } from '../rpc/protocol.js'
import { serveEngine } from './engine.js'
import { portOfThread } from './port-of-thread.js'
import type { EnginePort } from './port.js'

function portOfProcess(): EnginePort {
  // Without its host it has nothing to do, and nobody who would end it.
  process.once('disconnect', () => process.exit())
  return {
    // A host that is gone, or a channel that breaks, ends in 'disconnect'.
    send: (message) => void process.send!(message, undefined, undefined, () => {}),
    listen: (onMessage) => void process.on('message', (message) => onMessage(message as HostMessage)),
    exit: () => process.disconnect(),
  }
}

if (!isMainThread && parentPort) serveEngine(portOfThread(parentPort, () => process.exit()))
else if (process.send) serveEngine(portOfProcess())
