/** Entry point of an engine's process or thread. */
import { isMainThread, parentPort } from 'node:worker_threads'
import type { HostMessage } from '../rpc/protocol.js'
import { serveEngine } from './engine.js'
import type { UtilityHost } from '../electron/electron.js'
import { portOfThread } from './port-of-thread.js'
import type { EnginePort } from './port.js'

function portOfProcess(): EnginePort {
  // Without its host it has no work, and nothing would end it.
  process.once('disconnect', () => process.exit())
  // Ctrl+C in a terminal reaches the whole process group; the host decides when to end.
  process.on('SIGINT', () => {})
  return {
    // If the host ends or the channel breaks, 'disconnect' follows.
    send: (message) => void process.send!(message, undefined, undefined, () => {}),
    listen: (onMessage) => void process.on('message', (message) => onMessage(message as HostMessage)),
    exit: () => process.disconnect(),
  }
}

/** Electron's `process` in a utility process. */
const { parentPort: utilityPort } = process as UtilityHost

/** Electron can transfer only ports; bytes are always copied. */
function portOfUtility(port: NonNullable<UtilityHost['parentPort']>): EnginePort {
  return {
    send: (message) => port.postMessage(message),
    listen: (onMessage) => void port.on('message', ({ data }) => onMessage(data as HostMessage)),
    exit: () => process.exit(),
  }
}

if (utilityPort) serveEngine(portOfUtility(utilityPort))
else if (!isMainThread && parentPort) serveEngine(portOfThread(parentPort, () => process.exit()))
else if (process.send) serveEngine(portOfProcess())
