/** The options for hubs: HubOptions, and those of pulling and verifying. */
import path from 'node:path'
import { sourceParts } from '../names.js'
import { boolean, callback, choice, integer, option } from './option.js'
import { checkString, fileUrlToPath, invalidRange, invalidType, isUrl, listOf, show } from './validate.js'

/** An address without its trailing slash, query and fragment. */
export function checkEndpoint(value: unknown, name: string): URL {
  const text = isUrl(value) ? value.href : checkString(value, name, 2000)
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalidRange(`${name} must be an http or https URL, not ${show(text)}`)
  }
  if (!/^https?:$/.test(url.protocol) || url.username || url.password)
    throw invalidRange(`${name} must be an http or https URL without a user name or password in it, not ${show(text)}`)
  url.pathname = url.pathname.replace(/\/+$/, '')
  url.search = url.hash = ''
  return url
}

/** An access token without spaces around it. */
export function checkToken(value: unknown, name: string): string {
  const token = checkString(value, name, 4000).trim()
  // Characters that are not allowed in a header mean that something else was pasted.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw invalidRange(`${name} is not an access token: it is empty, or has characters that are not allowed in a header`)
  return token
}

function checkPath(value: unknown, name: string): string {
  if (isUrl(value)) {
    if (value.protocol !== 'file:') throw invalidRange(`${name} must be a path or a file: URL, not ${show(value.href)}`)
    return fileUrlToPath(value.href, name)
  }
  const text = checkString(value, name, 32_768)
  if (text === '' || text.includes('\0')) throw invalidRange(`${name} must be a path, not ${show(text)}`)
  return path.resolve(text)
}

/** A file name's infix in a diffusers folder. */
export function checkVariant(value: unknown, name: string): string {
  const text = checkString(value, name, 64)
  if (!/^[\w-]+$/.test(text)) throw invalidRange(`${name} must be a word such as 'fp16', not ${show(text)}`)
  return text
}

const checkTokenOption = (value: unknown, name: string) => (value === false ? value : checkToken(value, name))

/** Missing options come from the environment (hub/settings). */
export const hubOptions = {
  cacheDir: option(checkPath, {
    flag: { value: 'DIR', help: 'folder of the cache (default: HF_HUB_CACHE, or ~/.cache/huggingface/hub)' },
  }),
  localFilesOnly: boolean({ flag: { name: 'offline', help: 'use hf: and civitai: models only from the cache, without network access' } }),
  variant: option(checkVariant, { flag: { value: 'NAME', help: 'weights to download if there are several, e.g. fp16' } }),
  endpoint: option(checkEndpoint, { flag: 'the environment names mirrors: HF_ENDPOINT' }),
  token: option(checkTokenOption, { flag: 'a command line is no place for secrets: HF_TOKEN' }),
  civitaiEndpoint: option(checkEndpoint, { flag: 'the environment names mirrors: CIVITAI_ENDPOINT' }),
  civitaiToken: option(checkTokenOption, { flag: 'a command line is no place for secrets: CIVITAI_TOKEN' }),
  allowPickle: boolean({
    fallback: () => false,
    flag: { help: 'also accept .ckpt and .pt files from Civitai; they are read as data, never executed' },
  }),
  lockFile: option(checkPath, {
    flag: { value: 'FILE', help: 'pin the revision in FILE (latent.lock.json), or use the one pinned there' },
  }),
  timeout: integer({ min: 1, max: 3_600_000, flag: 'the environment has it: HF_HUB_DOWNLOAD_TIMEOUT' }),
  fetch: callback<typeof globalThis.fetch>({ flag: 'functions are for programs' }),
}

function checkInclude(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be a list of patterns, not ${show(value)}`)
  return listOf(value, name, 1000).map((pattern, i) => checkString(pattern, `${name}[${i}]`, 1000))
}

export const pullOptions = {
  part: choice({
    names: ['model', ...sourceParts, 'tokenizer'],
    fallback: () => 'model' as const,
    flag: { value: 'PART', help: 'fetch one part only: unet, textEncoder, imageEncoder, vae or tokenizer' },
  }),
  include: option(checkInclude, {
    fallback: (): string[] => [],
    flag: { value: 'LIST', help: 'additional files: PATTERN,PATTERN (* and **)', read: (text: string) => text.split(',') },
  }),
  dryRun: boolean({ fallback: () => false, flag: { help: 'list what would be fetched' } }),
}

export const verifyOptions = {
  remove: boolean({ fallback: () => false, flag: { help: 'delete damaged files; the next pull downloads them again' } }),
}
