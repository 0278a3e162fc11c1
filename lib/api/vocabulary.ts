/** The words of a pipeline's prompts: its tokenizer, with the embeddings that come with adapters while these are in use. */
import { stat } from 'node:fs/promises'
import { DiffusionError } from '../errors.js'
import type { NativeAdapter } from '../native/contract.js'
import type { Embedding } from '../text/embeddings.js'
import type { PipelineTokenizer } from '../text/tokenizer.js'
import type { LoraReport, PipelineInfo } from '../types.js'
import { embeddingForm, readBundledWords, type EmbeddingForm } from './embeddings.js'
import { openTensors, type TensorFile } from './tensors.js'

/** Files whose words are kept. */
const mostFiles = 64

/** The words of a file, and the names of their tensors. */
interface Bundle {
  words: Embedding[]
  tensors: ReadonlySet<string>
}

const empty: Bundle = { words: [], tensors: new Set() }

/** The engine, which reads the adapter itself, reports what is wrong with a file that cannot be opened. */
async function openAdapter(place: string): Promise<TensorFile | undefined> {
  if ((await stat(place)).isDirectory()) return undefined // of PEFT or diffusers, which bundle nothing
  return openTensors(place).catch((error: unknown) => {
    if (error instanceof DiffusionError) return undefined
    throw error
  })
}

async function readBundle(place: string, form: EmbeddingForm): Promise<Bundle> {
  using file = await openAdapter(place)
  return file ? readBundledWords(file, form) : empty
}

const keyOf = ({ path, stamp }: NativeAdapter) => `${stamp} ${path}`

export class Vocabulary {
  readonly #make: () => Promise<PipelineTokenizer>
  readonly #form: EmbeddingForm | undefined
  #plain: Promise<PipelineTokenizer> | undefined
  /** Of the last adapters with words. */
  #last: { key: string; tokenizer: PipelineTokenizer } | undefined
  /** By the file's state, the last used at the end. */
  readonly #bundles = new Map<string, Promise<Bundle>>()

  constructor(make: () => Promise<PipelineTokenizer>, info: PipelineInfo) {
    this.#make = make
    this.#form = embeddingForm(info)
  }

  /** The tokenizer for calls with these adapters. A word of the load options takes precedence over the same of an adapter, and earlier adapters over later ones. */
  async tokenizer(adapters: readonly NativeAdapter[]): Promise<PipelineTokenizer> {
    // A failed load is tried again at the next call.
    this.#plain ??= this.#make().catch((error: unknown) => {
      this.#plain = undefined
      throw error
    })
    const [plain, bundles] = await Promise.all([this.#plain, this.#bundlesOf(adapters)])
    const words = bundles.flatMap((bundle) => bundle.words)
    if (words.length === 0) return plain
    const key = adapters.map(keyOf).join('\n')
    if (this.#last?.key !== key) this.#last = { key, tokenizer: plain.with(words) }
    return this.#last.tokenizer
  }

  /** Completes the engine's reports with the words. */
  async reports(reports: readonly Omit<LoraReport, 'embeddings'>[], adapters: readonly NativeAdapter[]): Promise<LoraReport[]> {
    const bundles = await this.#bundlesOf(adapters)
    return reports.map((report) => {
      const { words, tensors } = bundles[adapters.findIndex(({ path }) => path === report.path)] ?? empty
      return { ...report, skipped: report.skipped.filter((name) => !tensors.has(name)), embeddings: words.map(({ name }) => name) }
    })
  }

  async #bundlesOf(adapters: readonly NativeAdapter[]): Promise<Bundle[]> {
    const form = this.#form
    return form ? Promise.all(adapters.map((adapter) => this.#bundle(adapter, form))) : []
  }

  #bundle(adapter: NativeAdapter, form: EmbeddingForm): Promise<Bundle> {
    const key = keyOf(adapter)
    const bundle = this.#bundles.get(key) ?? readBundle(adapter.path, form)
    this.#bundles.delete(key)
    this.#bundles.set(key, bundle)
    bundle.catch(() => this.#bundles.delete(key))
    for (const oldest of this.#bundles.keys()) {
      if (this.#bundles.size <= mostFiles) break
      this.#bundles.delete(oldest)
    }
    return bundle
  }
}
