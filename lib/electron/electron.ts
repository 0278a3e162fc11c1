/** The parts of Electron's API that this package uses, as types: `electron` is not a dependency. */

export interface MessagePortMain {
  postMessage(message: unknown): void
  on(event: 'message', listener: (event: { data: unknown }) => void): unknown
  once(event: 'close', listener: () => void): unknown
  start(): void
  close(): void
}

export interface WebFrameMain {
  /** Origin of the document in the frame. */
  readonly url: string
  /** Identifies the frame, whatever document it shows. */
  readonly frameTreeNodeId: number
  postMessage(channel: string, message: unknown, transfer: MessagePortMain[]): void
}

export interface UtilityProcess {
  readonly stderr: NodeJS.ReadableStream | null
  postMessage(message: unknown): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  once(event: 'exit', listener: (code: number) => void): unknown
  /** A fatal error of V8. */
  on(event: 'error', listener: (type: string, location: string) => void): unknown
  kill(): boolean
}

/** To be used once the application is ready. */
export interface PowerMonitor {
  readonly onBatteryPower: boolean
  on(event: 'suspend' | 'resume' | 'on-battery' | 'on-ac', listener: () => void): unknown
  removeListener(event: 'suspend' | 'resume' | 'on-battery' | 'on-ac', listener: () => void): unknown
}

export interface Electron {
  app: { isReady(): boolean; whenReady(): Promise<unknown>; once(event: 'will-quit', listener: () => void): unknown }
  ipcMain: {
    handle(channel: string, listener: (event: { senderFrame: WebFrameMain | null }, ...args: unknown[]) => unknown): void
    removeHandler(channel: string): void
  }
  powerMonitor: PowerMonitor
  utilityProcess: { fork(file: string, args: string[], options: object): UtilityProcess }
  MessageChannelMain: new () => { port1: MessagePortMain; port2: MessagePortMain }
}

/** `process` of a utility process. */
export interface UtilityHost {
  parentPort?: {
    postMessage(message: unknown): void
    on(event: 'message', listener: (event: { data: unknown }) => void): unknown
  }
}
