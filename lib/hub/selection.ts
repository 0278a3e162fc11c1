/** Selects the files of a repository that the loader reads: those that native/formats (folder.cpp, model_files.cpp) and the tokenizers would open. */
import type { sourceParts } from '../names.js'
import { DownloadError } from './errors.js'
import type { HubSource } from './source.js'

/** The role of a source. `firstStage`: a whole model of which only the autoencoder is read. `database`: embeddings of images. */
export type Role = 'model' | 'firstStage' | (typeof sourceParts)[number] | 'tokenizer' | 'database'

/** The requested model. */
export interface Wanted extends Pick<HubSource, 'name' | 'inner' | 'tag'> {
  role: Role
  variant: string | undefined
}

/** The required files, and the path for the loader. */
export interface Selection {
  /** Path of a file or folder in the repository; '' for the root. */
  entry: string
  files: string[]
  /** Those of `files` that list shards, which are required too. */
  indexes: string[]
}

/** Largest list of shards that the loader reads, in bytes. */
export const largestIndex = 16 << 20

const stems = ['diffusion_pytorch_model', 'model', 'pytorch_model'] as const
const tokenizerFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
  'vocab.txt',
]
/** Extensions of single files in order of preference: formats that cannot contain code first. */
const extensions = ['.safetensors', '.gguf', '.ckpt', '.pth', '.pt', '.bin'] as const
const components: Record<Exclude<Role, 'model' | 'firstStage' | 'tokenizer' | 'database'>, readonly string[]> = {
  unet: ['unet'],
  vae: ['vae', 'vqvae'],
  textEncoder: ['text_encoder', 'bert'],
  imageEncoder: ['image_encoder'],
}

/** True for pickle files, which can contain code; here they are read only as data. */
export function isPickle(path: string): boolean {
  return /\.(ckpt|pth|pt|bin|pkl)$/i.test(path)
}

export function isWeights(path: string): boolean {
  return extensions.some((extension) => path.toLowerCase().endsWith(extension))
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}

function spellings(stem: string, extension: string, variant: string): string[] {
  if (variant === '') return [`${stem}${extension}`, `${stem}${extension}.index.json`]
  return [`${stem}.${variant}${extension}`, `${stem}${extension}.index.${variant}.json`, `${stem}.${variant}${extension}.index.json`]
}

/** The paths of a repository, seen as folders by the loader. */
class Tree {
  readonly #paths: ReadonlySet<string>

  constructor(paths: Iterable<string>) {
    this.#paths = new Set(paths)
  }

  has(path: string): boolean {
    return this.#paths.has(path)
  }

  isFolder(path: string): boolean {
    for (const each of this.#paths) if (each.startsWith(`${path}/`)) return true
    return false
  }

  /** Everything below `folder`. */
  below(folder: string): string[] {
    return [...this.#paths].filter((path) => folder === '' || path.startsWith(`${folder}/`)).sort()
  }

  /** The weights that the loader would use in a folder. */
  weightsOf(folder: string, variant = ''): string | undefined {
    const find = (wanted: string) => {
      for (const extension of ['.safetensors', '.bin'])
        for (const stem of stems) for (const name of spellings(stem, extension, wanted)) if (this.has(join(folder, name))) return join(folder, name)
      return undefined
    }
    return (variant === '' ? undefined : find(variant)) ?? find('') ?? find('fp16')
  }

  /** Variants of the weights in all folders below. */
  variantsBelow(folder: string): string[] {
    const pattern = /(?:^|\/)(?:diffusion_pytorch_model|model|pytorch_model)\.([a-z][\w-]*?)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)$/
    return [...new Set(this.below(folder).flatMap((path) => pattern.exec(path)?.[1] ?? []))]
  }

  existing(folder: string, names: readonly string[]): string[] {
    return names.map((name) => join(folder, name)).filter((path) => this.has(path))
  }

  /** The first existing one of some subfolders. */
  firstFolder(base: string, names: readonly string[]): string | undefined {
    return names.map((name) => join(base, name)).find((folder) => this.isFolder(folder))
  }
}

function list(paths: readonly string[]): string {
  return `${paths.slice(0, 12).join(', ')}${paths.length > 12 ? ` and ${paths.length - 12} more` : ''}`
}

function choiceError(wanted: Wanted, message: string, files: readonly string[] = []): DownloadError {
  return new DownloadError('choice', `${wanted.name} ${message}`, { source: wanted.name, files: files.slice(0, 100) })
}

/** A folder with weights. */
function component(tree: Tree, folder: string, variant: string | undefined): string[] {
  const weights = tree.weightsOf(folder, variant)
  return weights === undefined ? [] : [weights, ...tree.existing(folder, ['config.json'])]
}

function finish(entry: string, files: readonly string[]): Selection {
  const unique = [...new Set(files)]
  return { entry, files: unique, indexes: unique.filter((path) => /\.index(\.[\w-]+)?\.json$/.test(path)) }
}

function isDiffusers(tree: Tree, base: string): boolean {
  const folder = (name: string) => tree.isFolder(join(base, name))
  if (tree.has(join(base, 'model_index.json')) || (folder('unet') && (folder('vae') || folder('vqvae')))) return true
  return tree.weightsOf(base) === undefined && Object.values(components).some((names) => names.some((name) => tree.weightsOf(join(base, name))))
}

/** A diffusers folder: configurations, tokenizer, and the weights of the parts to load. */
function diffusers(tree: Tree, base: string, { role, variant, name }: Wanted): Selection {
  const stageOnly = role === 'firstStage'
  const parts = [components.vae, ...(stageOnly ? [] : [components.unet, components.textEncoder, ['text_encoder_2']])]
  const folders = parts.flatMap((names) => tree.firstFolder(base, names) ?? [])
  const empty = folders.find((folder) => component(tree, folder, variant).length === 0)
  if (empty !== undefined || folders.length === 0)
    throw choiceError(
      { name } as Wanted,
      empty === undefined
        ? 'is a diffusers model without weights'
        : `has no supported weights in ${empty} (.safetensors or .bin, with the names of diffusers and transformers)`,
      empty === undefined ? [] : tree.below(empty),
    )
  return finish(base, [
    ...tree.existing(base, ['model_index.json', 'scheduler/scheduler_config.json', 'low_res_scheduler/scheduler_config.json']),
    ...(stageOnly ? [] : [...tree.existing(join(base, 'tokenizer'), tokenizerFiles), ...tree.existing(join(base, 'tokenizer_2'), tokenizerFiles)]),
    ...folders.flatMap((folder) => component(tree, folder, variant)),
  ])
}

function stemOf(path: string): string {
  return path.replace(/\.[^./]+$/, '')
}

/** One of several files that differ only in the container; undefined if they differ otherwise. */
function preferred(candidates: readonly string[]): string | undefined {
  if (new Set(candidates.map((path) => stemOf(path).toLowerCase())).size !== 1) return undefined
  const rank = (path: string) => extensions.findIndex((extension) => path.toLowerCase().endsWith(extension))
  return [...candidates].sort((a, b) => rank(a) - rank(b))[0]
}

/** A single file, with the configuration next to it. */
function single(tree: Tree, file: string): Selection {
  const folder = file.includes('/') ? file.slice(0, file.lastIndexOf('/')) : ''
  const stem = stemOf(file).slice(folder === '' ? 0 : folder.length + 1)
  const beside = /\.(gguf|json|txt)$/i.test(file) ? [] : [`${stem}.yaml`, `${stem}.yml`, 'config.yaml']
  return finish(file, [file, ...tree.existing(folder, beside)])
}

/** The only checkpoint of a repository. */
function onlyCheckpoint(tree: Tree, base: string, wanted: Wanted): Selection {
  const all = tree.below(base).filter(isWeights)
  const depth = base === '' ? 0 : base.length + 1
  const top = all.filter((path) => !path.slice(depth).includes('/'))
  const candidates = top.length > 0 ? top : all
  if (candidates.length === 0) throw choiceError(wanted, `has no model in a supported format: ${extensions.join(' ')} files or a diffusers folder`)
  const file = preferred(candidates)
  if (file === undefined)
    throw choiceError(
      wanted,
      `has ${candidates.length} model files: ${list(candidates)}. Choose one: ${wanted.name}/FILE, or by a word in its name: ${wanted.name}:q8_0`,
      candidates,
    )
  return single(tree, file)
}

/** The file selected by a tag: a file name, a word in one, or the variant of a diffusers folder. */
function tagged(tree: Tree, base: string, wanted: Wanted, tag: string): Selection {
  const all = tree.below(base).filter(isWeights)
  const exact = all.filter((path) => path === join(base, tag) || path.endsWith(`/${tag}`))
  if (exact.length === 1) return single(tree, exact[0]!)
  if (isDiffusers(tree, base) && tree.variantsBelow(base).includes(tag)) return folder(tree, base, { ...wanted, variant: tag })
  const word = new RegExp(`(^|[^a-z0-9])${tag.toLowerCase().replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}([^a-z0-9]|$)`)
  const candidates = all.filter((path) => word.test(path.slice(base.length).toLowerCase()))
  const file = candidates.length === 0 ? undefined : preferred(candidates)
  if (file !== undefined) return single(tree, file)
  if (candidates.length === 0)
    throw choiceError(wanted, `has no model file with '${tag}' in its name${all.length > 0 ? `; there are ${list(all)}` : ''}`, all)
  throw choiceError(
    wanted,
    `has ${candidates.length} model files with '${tag}' in their names: ${list(candidates)}. Choose one: ${wanted.name}/FILE`,
    candidates,
  )
}

function tokenizer(tree: Tree, base: string, wanted: Wanted): Selection {
  const folder = [base, join(base, 'tokenizer')].find((each) => tree.existing(each, ['tokenizer.json', 'vocab.json', 'vocab.txt']).length > 0)
  if (folder === undefined) throw choiceError(wanted, 'has no tokenizer: tokenizer.json, vocab.json with merges.txt, or vocab.txt')
  return finish(base, tree.existing(folder, tokenizerFiles))
}

/** The files of a retrieval database in a folder, without subfolders, as the loader reads them. */
function database(tree: Tree, base: string, wanted: Wanted): Selection {
  const depth = base === '' ? 0 : base.length + 1
  const files = tree.below(base).filter((path) => /\.(npz|safetensors)$/i.test(path) && !path.slice(depth).includes('/'))
  if (files.length === 0)
    throw choiceError(wanted, `has no .npz and no .safetensors file in ${base === '' ? 'its root' : base}: name the folder of the database`)
  return finish(base, files)
}

/** Rejects a variant that does not exist. */
function checkVariant(tree: Tree, base: string, wanted: Wanted, found: Selection): Selection {
  const { variant } = wanted
  if (variant === undefined || found.files.some((path) => path.includes(`.${variant}`))) return found
  const known = tree.variantsBelow(base)
  throw choiceError(wanted, `has no variant '${variant}'${known.length > 0 ? `; there are ${list(known)}` : ''}`, known)
}

function folder(tree: Tree, base: string, wanted: Wanted): Selection {
  const { role, variant } = wanted
  if (role === 'tokenizer') return tokenizer(tree, base, wanted)
  if (role === 'database') return database(tree, base, wanted)
  if (role === 'model' || role === 'firstStage') {
    if (isDiffusers(tree, base)) return checkVariant(tree, base, wanted, diffusers(tree, base, wanted))
    const own = component(tree, base, variant)
    if (own.length === 0) return onlyCheckpoint(tree, base, wanted)
    const words = [...tree.existing(base, tokenizerFiles), ...tree.existing(join(base, 'tokenizer'), tokenizerFiles)]
    return checkVariant(tree, base, wanted, finish(base, [...own, ...(role === 'model' ? words : [])]))
  }
  // A part: the weights in the folder itself, or the part's weights in a whole model.
  const places = [base, ...components[role].map((name) => join(base, name))]
  const place = places.find((each) => tree.weightsOf(each) !== undefined)
  if (place === undefined) return onlyCheckpoint(tree, base, wanted)
  return checkVariant(tree, base, wanted, finish(base, component(tree, place, variant)))
}

/** Selects among the paths of a repository. Throws DownloadError (`choice`, `not_found`) if none or several match. */
export function selectFiles(paths: Iterable<string>, wanted: Wanted): Selection {
  const tree = new Tree(paths)
  const { inner, tag } = wanted
  if (inner !== '' && tree.has(inner)) return single(tree, inner)
  if (inner !== '' && !tree.isFolder(inner)) {
    const others = tree.below('').filter(isWeights)
    const hint = others.length > 0 ? `; its model files are ${list(others)}` : ''
    throw new DownloadError('not_found', `${wanted.name} has no ${inner}${hint}`, { source: wanted.name, file: inner, files: others.slice(0, 100) })
  }
  return tag === undefined ? folder(tree, inner, wanted) : tagged(tree, inner, wanted, tag)
}

/** The shards that an index names, in the same folder. Throws if it is not an index or names files elsewhere. */
export function shardsOf(index: string, text: string, wanted: Pick<Wanted, 'name'>): string[] {
  const bad = (why: string) => new DownloadError('bad_answer', `${wanted.name}: ${index} ${why}`, { source: wanted.name, file: index })
  let map: unknown
  try {
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map
  } catch {
    throw bad('is not JSON')
  }
  if (typeof map !== 'object' || map === null) throw bad('lists no shards (weight_map)')
  const names = [...new Set(Object.values(map))]
  if (names.length > 1024 || !names.every((name): name is string => typeof name === 'string' && /^[\w.-]+$/.test(name) && !name.startsWith('.')))
    throw bad('lists shards that are not files next to it')
  const slash = index.lastIndexOf('/')
  return names.map((name) => join(slash < 0 ? '' : index.slice(0, slash), name))
}
