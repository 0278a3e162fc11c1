/** The engine's side of a host: loads models and generates images for the requests from a port, one after another. */
import { describeModel, estimateMemory, type EstimateRequest } from '../api/inspect.js'
import { DiffusionPipeline } from '../api/pipeline.js'
import { previewCredit, protocolVersion, type HostMessage, type WireModel } from '../rpc/protocol.js'
import { encodeError } from '../rpc/wire-error.js'
import { decode, encode, encodeBeside, pictureBuffers, type Wire } from '../rpc/wire.js'
import type { AnyGenerateOptions, LoadOptions, ModelSource, PreviewOptions, Progress } from '../types.js'
import type { EnginePort } from './port.js'

/** A request that is waiting or running. */
interface Running {
  control: AbortController
  /** Previews that the host has not acknowledged yet. */
  unseen: number
}

type Request = Exclude<HostMessage, { type: 'cancel' | 'seen' | 'close' }>

const newRequest = (): Running => ({ control: new AbortController(), unseen: 0 })

function readModel({ source, options }: WireModel) {
  return { source: decode(source) as ModelSource | undefined, options: decode(options) as LoadOptions }
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
    else if (message.type === 'tokenize' && this.#pipelines.has(message.model.name))
      void this.#serve(message, newRequest()) // needs no engine
    else this.#enqueue(message)
  }

  #enqueue(message: Request): void {
    const running = newRequest()
    this.#requests.set(message.id, running)
    this.#last = this.#last.then(() => this.#serve(message, running))
  }

  async #serve(message: Request, running: Running): Promise<void> {
    const { id } = message
    try {
      running.control.signal.throwIfAborted()
      const value = await this.#answer(message, running)
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
        return encode((await this.#pipeline(message.id, message.model, running)).info, 'info')
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
        return encode(await (await this.#pipeline(message.id, message.model, running)).tokenize(message.prompt), 'tokens')
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

  async #pipeline(id: number, model: WireModel, { control }: Running): Promise<DiffusionPipeline> {
    const { name } = model
    let pipeline = this.#pipelines.get(name)
    if (!pipeline) {
      const { source, options } = readModel(model)
      pipeline = await DiffusionPipeline.load(source, { ...options, signal: control.signal, onProgress: this.#progress(id) })
      this.#pipelines.set(name, pipeline)
    }
    return pipeline
  }

  async #generate({ id, model, options, preview }: Extract<HostMessage, { type: 'generate' }>, running: Running): Promise<Wire> {
    const pipeline = await this.#pipeline(id, model, running)
    const given = decode(options) as AnyGenerateOptions
    const onPreview: PreviewOptions['onPreview'] = (image, at) => {
      if (running.unseen >= previewCredit) return // the host is behind; a newer preview will follow
      running.unseen++
      const picture = encode(image, 'preview')
      this.#port.send({ type: 'preview', id, image: picture, ...at }, [...pictureBuffers(picture)])
    }
    const { options: resolved, ...result } = await pipeline.generate({
      ...given,
      signal: running.control.signal,
      onProgress: this.#progress(id),
      ...(preview === undefined ? {} : { preview: { ...(decode(preview) as PreviewOptions), onPreview } }),
    })
    return { ...(encode(result, 'result') as object), options: encodeBeside(resolved, { ...given }, 'options') }
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
