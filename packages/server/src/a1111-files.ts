/** Files beside models that prompts name: adapters and textual inversions. They are told by name, never by their place. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { listEmbeddings, listLoras, type HostedModel, type PipelineInfo } from 'node-latent-diffusion'

/** The path of a local folder or file; undefined for one on a hub. */
function localPath(place: unknown): string | undefined {
  if (place instanceof URL) return place.protocol === 'file:' ? fileURLToPath(place) : undefined
  if (typeof place !== 'string' || /^(hf|civitai):/.test(place)) return undefined
  return place.startsWith('file:') ? fileURLToPath(place) : place
}

/** The adapters that a model's prompts may name, as `/sdapi/v1/loras` lists them. A folder that is gone or may not be read is empty. */
export async function lorasOf({ loraDirectory }: Partial<HostedModel>) {
  const folder = localPath(loraDirectory)
  const found = folder === undefined ? [] : await listLoras(folder).catch(() => [])
  return found.map(({ name, path: file }) => ({ name, alias: name, path: path.basename(file), metadata: {} }))
}

type EmbeddingList = Record<string, { step: null; sd_checkpoint: null; sd_checkpoint_name: null; shape: number; vectors: number }>

/** Textual inversions in a model's folder; `skipped`: those for other models. */
export async function embeddingsOf({ embeddingDirectory }: Partial<HostedModel>, info: PipelineInfo) {
  const lists: { loaded: EmbeddingList; skipped: EmbeddingList } = { loaded: {}, skipped: {} }
  const folder = localPath(embeddingDirectory)
  const found = folder === undefined ? [] : await listEmbeddings(folder, { info }).catch(() => [])
  for (const { name, widths, vectors, fits } of found)
    lists[fits ? 'loaded' : 'skipped'][name] ??= { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: widths[0]!, vectors }
  return lists
}

/** The file name of the autoencoder that a model is loaded with, if it has its own. */
export function vaeOf({ source }: Partial<HostedModel>): string | undefined {
  const { vae } = typeof source === 'object' && !(source instanceof URL) ? (source as { vae?: unknown }) : {}
  const place = localPath(vae)
  return place === undefined ? undefined : path.basename(place)
}
