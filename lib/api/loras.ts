/** Adapters: their options, their files, and those named in a prompt. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { ioError } from '../files/regular-file.js'
import { resolveFile, resolveFolder, type ResolveOptions } from '../model/sources.js'
import type { NativeAdapter } from '../native/contract.js'
import { nearestName } from '../options/suggest.js'
import type { CheckedLora } from '../options/loras.js'
import { invalidRange, show } from '../options/validate.js'
import { adapterNames, readMark, withoutAdapters } from '../text/adapters.js'
import type { GenerateWarning, LoraOptions, LoraReport } from '../types.js'

const maxDepth = 8
const maxEntries = 100_000
/** Extensions of adapter files; folders have none. */
const extension = /\.(safetensors|gguf|pt|pth|ckpt|bin)$/i

/** The folder of the adapters that prompts name. */
export async function resolveLoraDirectory(value: unknown): Promise<string | undefined> {
  return value === undefined ? undefined : resolveFolder(value, 'loraDirectory')
}

/** An adapter that prompts may name. */
export interface ListedLora {
  /** As in `<lora:name:1>`: the file's name without its extension. */
  name: string
  path: string
}

/**
 * The adapters in a `loraDirectory` and its subfolders: what prompts may name after `load({ loraDirectory })`. Up to 100,000 entries and eight levels of folders are looked at; links to folders are
 * not followed. Of files with the same name, the one that counts is listed. The files themselves are not read.
 * @param directory a path or `file:` URL
 * @throws DiffusionError `ERR_IO` if a folder cannot be read; RangeError if `directory` is a file
 */
export async function listLoras(directory: string | URL): Promise<ListedLora[]> {
  const files = await filesOf(await resolveFolder(directory, 'directory'))
  return [...files].map(([name, file]) => ({ name, path: file }))
}

/** Their files; those on a hub are downloaded. */
export async function findLoras(loras: readonly CheckedLora[], name: string, options: ResolveOptions): Promise<NativeAdapter[]> {
  const found: NativeAdapter[] = []
  for (const [i, lora] of loras.entries()) found.push(await stamped(await resolveFile(lora.path, `${name}[${i}].path`, options), lora))
  return found
}

async function stamped(file: string, { weight, textWeight }: Pick<CheckedLora, 'weight' | 'textWeight'>): Promise<NativeAdapter> {
  const { size, mtimeMs } = await stat(file)
  return { path: file, weight, textWeight, stamp: `${size} ${mtimeMs}` }
}

/** Files below a folder, by name without extension; of files with the same name the first counts. */
async function filesOf(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const waiting: [string, number][] = [[folder, 0]]
  let seen = 0
  for (const [place, depth] of waiting) {
    const entries = await readdir(place, { withFileTypes: true }).catch((cause: unknown) => {
      throw ioError('The folder', place, cause)
    })
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (++seen > maxEntries) return files
      const file = path.join(place, entry.name)
      if (entry.isDirectory()) {
        if (depth < maxDepth) waiting.push([file, depth + 1])
      } else if (extension.test(entry.name)) {
        const name = entry.name.replace(extension, '')
        if (!files.has(name)) files.set(name, file)
      }
    }
  }
  return files
}

/** The adapters named in a prompt, and the prompt without them. */
export interface PromptLoras {
  text: string
  loras: NativeAdapter[]
  warnings: GenerateWarning[]
}

function ignored(marks: readonly string[], why: string): GenerateWarning[] {
  if (marks.length === 0) return []
  return [{ code: 'WARN_ADAPTER_IGNORED', message: `adapters ${why} and were removed from the prompt: ${marks.join(', ')}` }]
}

/** Without a folder the tags are removed with a warning; a name that is not in the folder is an error, because the image would differ. */
export async function promptLoras(prompt: string, negative: string | undefined, folder: string | undefined): Promise<PromptLoras> {
  const marks = adapterNames(prompt)
  const warnings = ignored(
    adapterNames(negative ?? '').map((mark) => `${mark} in negativePrompt`),
    'are only read in prompt',
  )
  if (folder === undefined)
    return {
      text: prompt,
      loras: [],
      warnings: [
        ...ignored(
          marks.map((mark) => `${mark} in prompt`),
          'need the load option loraDirectory',
        ),
        ...warnings,
      ],
    }
  const loras: NativeAdapter[] = []
  const unread: string[] = []
  const files = marks.length > 0 ? await filesOf(folder) : new Map<string, string>()
  for (const mark of marks) {
    const asked = readMark(mark)
    if (!asked) {
      unread.push(mark)
      continue
    }
    const { name, ...strengths } = asked
    const file = files.get(name)
    if (file === undefined) {
      const near = nearestName(name, [...files.keys()])
      throw invalidRange(`prompt: there is no adapter ${show(name)} in ${folder}${near === undefined ? '' : `. Did you mean '${near}'?`}`)
    }
    loras.push(await stamped(file, strengths))
  }
  return { text: withoutAdapters(prompt).trim(), loras, warnings: [...ignored(unread, 'are not of the form <lora:name:1>'), ...warnings] }
}

/** Warns about layers of the files that were not used. */
export function partialWarnings(reports: readonly LoraReport[]): GenerateWarning[] {
  return reports.flatMap(({ name, unmatched, skipped }) => {
    const left = [...unmatched, ...skipped]
    if (left.length === 0) return []
    const shown = left.slice(0, 3).join(', ')
    const more = left.length > 3 ? ` and ${left.length - 3} more` : ''
    return [{ code: 'WARN_ADAPTER_PARTIAL', message: `${name}: some layers were not applied to this model: ${shown}${more}` }]
  })
}

export const toLoraOptions = (adapters: readonly NativeAdapter[]): LoraOptions[] =>
  adapters.map(({ path: file, weight, textWeight }) => ({ path: file, weight, textWeight }))
