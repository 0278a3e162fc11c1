/** Resolves a model's name to a local path: from the cache, or by downloading it. */
import { findLocal } from './local.js'
import { pull, type PullHooks } from './pull.js'
import type { Role } from './selection.js'
import type { HubSettings } from './settings.js'
import type { HubSource } from './source.js'

/** The path of a model, and its name. */
export interface Located {
  location: string
  name: string
  commit: string
}

/** The repository, or the file in it without extension. */
export function nameOf({ site, repo, inner, tag }: HubSource, location: string): string {
  const file = location.split(/[\\/]/).at(-1)!
  const isFile = /\.(safetensors|gguf|ckpt|pth|pt|bin)$/i.test(file)
  if (isFile && (site === 'civitai' || inner !== '' || tag !== undefined)) return file.replace(/\.[^.]+$/, '')
  return site === 'hf' ? repo.split('/')[1]! : repo
}

/** Finds or downloads a model. A model in the cache is not checked for updates; `latent pull` does that. */
export async function locate(source: HubSource, role: Role, settings: HubSettings, hooks: PullHooks = {}): Promise<Located> {
  hooks.signal?.throwIfAborted()
  const found = (await findLocal(source, role, settings)) ?? (await pull(source, role, settings, hooks))
  return { location: found.location, commit: found.commit, name: nameOf(source, found.location) }
}
