/** The engine's side of a host: loads models and generates images for the requests from a port, one after another. */
import { describeModel, estimateMemory, type EstimateRequest } from '../api/inspect.js'
import { DiffusionPipeline } from '../api/pipeline.js'
import { previewCredit, protocolVersion, type GenerateMessage, type HostMessage, type WireModel } from '../rpc/protocol.js'
import { encodeError } from '../rpc/wire-error.js'
import { decode, encode, encodeBeside, pictureBuffers, type Wire } from '../rpc/wire.js'
import type { AnyGenerateOptions, GenerateResult, LoadOptions, ModelSource, PreviewOptions, Progress } from '../types.js'
import type { EnginePort } from './port.js'

/** A request that is waiting or running. */
interface Running {
  control: AbortController
  /** Previews that the host has not acknowledged yet. */
  unseen: number
}

type Request = Exclude<HostMessage, { type: 'cancel' | 'seen' | 'close' | 'together' }>

const newRequest = (): Running => ({ control: new AbortController(), unseen: 0 })

function readModel({ source, options }: WireModel) {
  return { source: decode(source) as ModelSource | undefined, options: decode(options) as LoadOptions }
}

/** `options`: of the call. */
function wireResult({ options: resolved, ...result }: GenerateResult, options: AnyGenerateOptions): Wire {
  const given = Object.entries(options).filter(([name]) => !['signal', 'onProgress', 'preview'].includes(name))
  return { ...(encode(result, 'result') as object), options: encodeBeside(resolved, Object.fromEntries(given), 'options') }
}

class Engine {
  readonly #port: EnginePort
  readonly #pipelines = new Map<string, DiffusionPipeline>()
  readonly #requests = new Map<number, Running>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(port: EnginePort) {
    this.#port = port
  }

  receive(message: HostMessage): void {
    if (message.type === 'cancel') this.#requests.get(message.id)?.control.abort()
    else if (message.type === 'seen') {
      const request = this.#requests.get(message.id)
      if (request) request.unseen--
    } else if (message.type === 'close') void this.#close()
    else if (message.type === 'together') this.#enqueueTogether(message.requests)
    else if (message.type === 'tokenize' && this.#pipelines.has(message.model.name))
      void this.#serve(message, newRequest()) // needs no engine
    else this.#enqueue(message)
  }

  #enqueue(message: Request): void {
    const running = newRequest()
    this.#requests.set(message.id, running)
    this.#last = this.#last.then(() => this.#serve(message, running))
  }

  /** Requests for one model. */
  #enqueueTogether(messages: readonly GenerateMessage[]): void {
    const requests = messages.map((message) => ({ message, running: newRequest() }))
    for (const { message, running } of requests) this.#requests.set(message.id, running)
    this.#last = this.#last.then(async () => {
      // Loading is for all of them.
      const control = new AbortController()
      const leave = () => requests.every(({ running }) => running.control.signal.aborted) && control.abort()
      for (const { running } of requests) running.control.signal.addEventListener('abort', leave, { once: true })
      leave()
      const tell = (progress: Progress) => requests.forEach(({ message }) => this.#progress(message.id)(progress))
      const results = this.#pipeline(messages[0]!.model, control.signal, tell).then((pipeline) => {
        const calls = requests.map(({ message, running }) => this.#optionsOf(message, running))
        const answers = pipeline.generateTogether(calls).map(async (result, i) => wireResult(await result, calls[i]!))
        for (const answer of answers) answer.catch(() => {}) // nobody awaits that of a request that was cancelled before
        return answers
      })
      results.catch(() => {}) // likewise if all were
      await Promise.all(requests.map(({ message, running }, i) => this.#settle(message.id, running, async () => (await results)[i]!)))
    })
  }

  async #serve(message: Request, running: Running): Promise<void> {
    await this.#settle(message.id, running, () => this.#answer(message, running))
  }

  async #settle(id: number, running: Running, answer: () => Promise<Wire>): Promise<void> {
    try {
      running.control.signal.throwIfAborted()
      const value = await answer()
      this.#port.send({ type: 'result', id, value, models: [...this.#pipelines.keys()] }, [...pictureBuffers(value)])
    } catch (error) {
      this.#port.send({ type: 'error', id, error: encodeError(error), models: [...this.#pipelines.keys()] })
    } finally {
      this.#requests.delete(id)
    }
  }

  async #answer(message: Request, running: Running): Promise<Wire> {
    switch (message.type) {
      case 'load':
        return encode((await this.#load(message, running)).info, 'info')
      case 'generate':
        return this.#generate(message, running)
      case 'unload': {
        const pipeline = this.#pipelines.get(message.model)
        this.#pipelines.delete(message.model)
        await pipeline?.dispose()
        return undefined
      }
      case 'memory':
        return this.#pipelines.get(message.model)?.memoryUsage()
      case 'tokenize':
        return encode(await (await this.#load(message, running)).tokenize(message.prompt), 'tokens')
      case 'describe': {
        const { source, options } = readModel(message.model)
        return encode(await describeModel(source, { ...options, signal: running.control.signal }), 'info')
      }
      case 'estimate': {
        const { source, options } = readModel(message.model)
        const request = { ...options, ...(decode(message.request) as EstimateRequest), signal: running.control.signal }
        return encode(await estimateMemory(source, request), 'estimate')
      }
    }
  }

  #progress(id: number): (progress: Progress) => void {
    return (progress) => this.#port.send({ type: 'progress', id, progress })
  }

  #load({ id, model }: { id: number; model: WireModel }, { control }: Running): Promise<DiffusionPipeline> {
    return this.#pipeline(model, control.signal, this.#progress(id))
  }

  async #pipeline(model: WireModel, signal: AbortSignal, onProgress: (progress: Progress) => void): Promise<DiffusionPipeline> {
    const { name } = model
    let pipeline = this.#pipelines.get(name)
    if (!pipeline) {
      const { source, options } = readModel(model)
      const began = performance.now()
      pipeline = await DiffusionPipeline.load(source, { ...options, signal, onProgress })
      this.#port.send({ type: 'loaded', model: name, ms: performance.now() - began })
      this.#pipelines.set(name, pipeline)
    }
    return pipeline
  }

  async #generate(message: GenerateMessage, running: Running): Promise<Wire> {
    const pipeline = await this.#load(message, running)
    const options = this.#optionsOf(message, running)
    return wireResult(await pipeline.generate(options), options)
  }

  #optionsOf({ id, options, preview }: GenerateMessage, running: Running): AnyGenerateOptions {
    const onPreview: PreviewOptions['onPreview'] = (image, at) => {
      if (running.unseen >= previewCredit) return // the host is behind; a newer preview will follow
      running.unseen++
      const picture = encode(image, 'preview')
      this.#port.send({ type: 'preview', id, image: picture, ...at }, [...pictureBuffers(picture)])
    }
    return {
      ...(decode(options) as AnyGenerateOptions),
      signal: running.control.signal,
      onProgress: this.#progress(id),
      ...(preview === undefined ? {} : { preview: { ...(decode(preview) as PreviewOptions), onPreview } }),
    }
  }

  async #close(): Promise<void> {
    for (const { control } of this.#requests.values()) control.abort()
    await this.#last
    await Promise.allSettled([...this.#pipelines.values()].map((pipeline) => pipeline.dispose()))
    this.#port.exit()
  }
}

/** Serves a port until a close request. */
export function serveEngine(port: EnginePort): void {
  const engine = new Engine(port)
  port.listen((message) => engine.receive(message))
  port.send({ type: 'hello', protocol: protocolVersion, pid: process.pid })
}
