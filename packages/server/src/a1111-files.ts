/** Files beside models that prompts name: adapters and textual inversions. They are told by name, never by their place. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { openTensors, type HostedModel, type PipelineInfo } from 'node-latent-diffusion'

/** As the library reads the folder of adapters. */
const adapterFile = /\.(safetensors|gguf|pt|pth|ckpt|bin)$/i
const maxDepth = 8
const maxEntries = 100_000
const embeddingFile = /\.(safetensors|pt|bin)$/i
/** Their headers are read one after another for each list. */
const maxEmbeddingFiles = 1000
const maxVectors = 1000

/** The path of a local folder or file; undefined for one on a hub. */
function localPath(place: unknown): string | undefined {
  if (place instanceof URL) return place.protocol === 'file:' ? fileURLToPath(place) : undefined
  if (typeof place !== 'string' || /^(hf|civitai):/.test(place)) return undefined
  return place.startsWith('file:') ? fileURLToPath(place) : place
}

/** A folder that is gone or may not be read is empty. Links to folders are not followed, as in the library. */
async function namesBelow(folder: string): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  const waiting: [place: string, depth: number][] = [[folder, 0]]
  let seen = 0
  for (const [place, depth] of waiting) {
    for (const entry of (await readdir(place, { withFileTypes: true }).catch(() => [])).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (++seen > maxEntries) return names
      if (entry.isDirectory() && depth < maxDepth) waiting.push([path.join(place, entry.name), depth + 1])
      if (entry.isDirectory() || !adapterFile.test(entry.name)) continue
      const name = entry.name.replace(adapterFile, '')
      if (!names.has(name)) names.set(name, entry.name)
    }
  }
  return names
}

/** The adapters that a model's prompts may name, as `/sdapi/v1/loras` lists them. */
export async function listLoras({ loraDirectory }: Partial<HostedModel>) {
  const folder = localPath(loraDirectory)
  const names = folder === undefined ? [] : [...(await namesBelow(folder))]
  return names.map(([name, file]) => ({ name, alias: name, path: file, metadata: {} }))
}

interface Word {
  name: string
  shape: number
  vectors: number
  fits: boolean
}

/** The words of a file and whether they fit text encoders of these widths. Only its header is read. */
async function wordsOf(file: string, widths: readonly number[]): Promise<Word[]> {
  const stem = path.basename(file).replace(embeddingFile, '')
  using tensors = await openTensors(file)
  const vectors = [...tensors].filter(({ shape }) => shape.length === 1 || shape.length === 2)
  const known = vectors.filter(({ name }) => /^(clip_[lg]|emb_params|string_to_param\..*)$/.test(name))
  // Other files have a tensor per word. One word alone may be called by the file's name, too.
  const words =
    known.length > 0 || vectors.length === 1
      ? [{ name: stem, parts: known.length > 0 ? known : vectors }]
      : vectors.map((each) => ({ name: each.name, parts: [each] }))
  return words.slice(0, maxVectors).map(({ name, parts }) => {
    const sizes = parts.map(({ shape }) => ({ count: shape.length === 1 ? 1 : shape[0]!, width: shape.at(-1)! }))
    const { count = 0, width = 0 } = sizes[0] ?? {}
    const fits = widths.length > 0 && count > 0 && count <= maxVectors && widths.every((each) => sizes.some((size) => size.width === each))
    return { name, shape: width, vectors: count, fits }
  })
}

/** Widths of the text encoders that read embeddings. */
function widthsOf({ spec }: PipelineInfo): number[] {
  return spec.conditioners.flatMap((each) => {
    const { kind, clip } = each as { kind?: string; clip?: { hiddenSize: number } }
    return kind === 'clip_text' && clip ? [clip.hiddenSize] : []
  })
}

type EmbeddingList = Record<string, { step: null; sd_checkpoint: null; sd_checkpoint_name: null; shape: number; vectors: number }>

/** Textual inversions in a model's folder; `skipped`: those for other models. What is no textual inversion is left out. */
export async function listEmbeddings({ embeddingDirectory }: Partial<HostedModel>, info: PipelineInfo) {
  const lists: { loaded: EmbeddingList; skipped: EmbeddingList } = { loaded: {}, skipped: {} }
  const folder = localPath(embeddingDirectory)
  if (folder === undefined) return lists
  const widths = widthsOf(info)
  const files = (await readdir(folder).catch(() => [])).filter((name) => embeddingFile.test(name)).sort()
  for (const file of files.slice(0, maxEmbeddingFiles)) {
    const words = await wordsOf(path.join(folder, file), widths).catch(() => []) // not a file of tensors
    for (const { name, shape, vectors, fits } of words)
      lists[fits ? 'loaded' : 'skipped'][name] ??= { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape, vectors }
  }
  return lists
}

/** The file name of the autoencoder that a model is loaded with, if it has its own. */
export function vaeOf({ source }: Partial<HostedModel>): string | undefined {
  const { vae } = typeof source === 'object' && !(source instanceof URL) ? (source as { vae?: unknown }) : {}
  const place = localPath(vae)
  return place === undefined ? undefined : path.basename(place)
}
