/** Selects the files of a Civitai version. */
import type { CivitaiFile } from './civitai.js'
import { DownloadError } from './errors.js'
import type { Listing, RemoteFile } from './listing.js'
import { isPickle, isWeights, type Role, type Selection } from './selection.js'

/** Types of files for a role. */
function typesFor(role: Role): readonly string[] {
  if (role === 'vae') return ['VAE', 'Model', 'Pruned Model']
  if (role === 'textEncoder') return ['Text Encoder', 'Model', 'Pruned Model']
  return ['Model', 'Pruned Model', 'VAE']
}

/** The file to load, and its configuration under the name that the loader looks for. */
export function selectCivitai(
  { source, files }: Listing,
  role: Role,
  allowPickle: boolean,
): { selection: Selection; files: ReadonlyMap<string, RemoteFile> } {
  const all = [...(files as ReadonlyMap<string, CivitaiFile>).values()]
  const types = typesFor(role)
  const weights = all.filter(({ path }) => isWeights(path))
  const named = source.inner === '' ? weights : weights.filter(({ path }) => path === source.inner)
  if (named.length === 0) {
    const known = weights.map(({ path }) => path)
    const message = source.inner === '' ? 'has no supported model file' : `holds no ${source.inner}`
    throw new DownloadError('choice', `${source.name} ${message}${known.length > 0 ? `; there are ${known.join(', ')}` : ''}`, {
      source: source.name,
      files: known,
    })
  }
  const safe = named.filter(({ path }) => allowPickle || !isPickle(path))
  if (safe.length === 0) {
    const message = `${source.name} has only pickle files (${named.map(({ path }) => path).join(', ')}), which can contain code. This library reads them as data and never executes them: allow them with hub.allowPickle or --allow-pickle`
    throw new DownloadError('pickle', message, { source: source.name })
  }
  const rank = (file: CivitaiFile) => types.indexOf(file.type) * 2 + (file.primary ? 0 : 1) + (types.includes(file.type) ? 0 : 100)
  const chosen = [...safe].sort((a, b) => rank(a) - rank(b))[0]!
  const stem = chosen.path.replace(/\.[^.]+$/, '')
  const configs = all.filter(({ path, type }) => type === 'Config' && /\.ya?ml$/i.test(path))
  const config = configs.length === 1 ? { ...configs[0]!, path: `${stem}.yaml` } : configs.find(({ path }) => path.startsWith(`${stem}.`))
  const taken: RemoteFile[] = [chosen, ...(config ? [config] : [])]
  return {
    selection: { entry: chosen.path, files: taken.map(({ path }) => path), indexes: [] },
    files: new Map([...files, ...taken.map((file) => [file.path, file] as const)]),
  }
}
