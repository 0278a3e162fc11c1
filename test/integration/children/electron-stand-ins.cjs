/** Stand-ins for what the package uses of Electron and of a page, in one thread: utility processes are child processes, ports are those of worker threads. */
const { EventEmitter } = require('node:events')
const { MessageChannel } = require('node:worker_threads')
const { Event, EventTarget } = globalThis

class MessageChannelMain {
  constructor() {
    const { port1, port2 } = new MessageChannel()
    this.port2 = port2
    this.port1 = {
      postMessage: (message) => port1.postMessage(message),
      on: (event, listener) => port1.on(event, (data) => listener({ data })),
      once: (event, listener) => port1.once(event, listener),
      start: () => port1.start(),
      close: () => port1.close(),
    }
  }
}

/**
 * The module `electron`. `fork(file, args, options)` starts the child process of a utility process; `frame.url` is the address of the page. Also returned: the child processes, the handlers
 * of ipcMain, and the emitter of messages to the preload script.
 */
function electronStandIn({ app, fork, frame }) {
  const [handlers, engines, toPreload] = [new Map(), [], new EventEmitter()]
  const senderFrame = {
    get url() {
      return frame.url
    },
    frameTreeNodeId: 1,
    postMessage: (channel, message, ports) => toPreload.emit(channel, { ports }, message),
  }
  const electron = {
    app,
    powerMonitor: Object.assign(new EventEmitter(), { onBatteryPower: false }),
    MessageChannelMain,
    ipcMain: { handle: (channel, listener) => handlers.set(channel, listener), removeHandler: (channel) => handlers.delete(channel) },
    utilityProcess: {
      fork(file, args, { stdio }) {
        const child = fork(file, args, { stdio: [...stdio, 'ipc'], serialization: 'advanced' })
        engines.push(child)
        return Object.assign(child, { postMessage: (message) => child.send(message, () => {}) })
      },
    },
    contextBridge: { exposeInMainWorld: (key, api) => (globalThis.window[key] = api) },
    ipcRenderer: {
      invoke: async (channel, ...args) => handlers.get(channel)({ senderFrame }, ...args),
      on: (channel, listener) => toPreload.on(channel, listener),
    },
  }
  return { electron, handlers, engines, toPreload }
}

/** The globals of a page of `origin`. */
function standInForPage(origin) {
  globalThis.window = Object.assign(new EventTarget(), {
    location: { origin },
    postMessage(data, target, ports) {
      if (target !== origin) throw new Error(`posted to ${target}`)
      this.dispatchEvent(Object.assign(new Event('message'), { data, source: this, ports }))
    },
  })
  globalThis.ImageData = class ImageData {
    constructor(data, width, height) {
      Object.assign(this, { data, width, height })
    }
  }
  for (const name of ['HTMLImageElement', 'HTMLCanvasElement', 'OffscreenCanvas', 'ImageBitmap']) globalThis[name] ??= class {}
  globalThis.createImageBitmap = async ({ width, height }) => ({ width, height, close() {} })
}

module.exports = { electronStandIn, standInForPage }
