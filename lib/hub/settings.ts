/** Where models are fetched from and kept: the one place that names hosts, environment variables and defaults. */
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { checkBoolean, checkFunction, checkInteger, checkString, fileUrlToPath, invalidRange, isUrl, knownKeys, show } from '../options/validate.js'

const hubHost = 'https://huggingface.co'
const civitaiHost = 'https://civitai.com'

/** How `hf:` and `civitai:` models are found, fetched and kept. Everything has a default from the environment variables that other tools know. */
export interface HubOptions {
  /** Folder of the cache, laid out as Python's `huggingface_hub` does. Default: HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub; for `civitai:` LATENT_CACHE, or ~/.cache/node-latent-diffusion. */
  cacheDir?: string | URL
  /** Read what is in the cache and ask no server. Default: HF_HUB_OFFLINE. */
  localFilesOnly?: boolean
  /** Weights of a diffusers folder to take where there are several, e.g. `fp16`. Default: the plain ones. */
  variant?: string
  /** The hub, or a mirror of it. Default: HF_ENDPOINT, or the public hub. */
  endpoint?: string | URL
  /** Access token of the hub, sent to `endpoint` alone; `false`: none. Default: HF_TOKEN, or the one that `hf auth login` stored. */
  token?: string | false
  /** Default: CIVITAI_ENDPOINT, or the public site. */
  civitaiEndpoint?: string | URL
  /** Token of Civitai, sent to `civitaiEndpoint` alone; `false`: none. Default: CIVITAI_TOKEN. */
  civitaiToken?: string | false
  /** Take pickle files (.ckpt, .pt) of `civitai:` models, too. They are read as data and nothing in them is executed. Default false. */
  allowPickle?: boolean
  /** A file of pinned revisions (`latent.lock.json`): models in it are taken at the commit that stands there, others are added. Default: none. */
  lockFile?: string | URL
  /** Milliseconds without an answer, or without a byte, after which a connection is given up and tried again. Default: HF_HUB_DOWNLOAD_TIMEOUT (seconds), or 30 s. */
  timeout?: number
  /** In place of Node's own, e.g. for a proxy. */
  fetch?: (url: string, init: never) => Promise<object>
}

export const hubKeys = [
  'cacheDir',
  'localFilesOnly',
  'variant',
  'endpoint',
  'token',
  'civitaiEndpoint',
  'civitaiToken',
  'allowPickle',
  'lockFile',
  'timeout',
  'fetch',
] as const

/** One of the two sites. */
export interface Site {
  endpoint: URL
  token: string | undefined
}

/** Checked options and what the environment adds. */
export interface HubSettings {
  hub: Site
  civitai: Site
  /** Caches of `hf:` and of `civitai:` models. */
  cacheDir: string
  civitaiDir: string
  offline: boolean
  variant: string | undefined
  allowPickle: boolean
  lockFile: string | undefined
  timeout: number
  fetch: typeof globalThis.fetch | undefined
  /** First pause between attempts in milliseconds; it doubles. */
  backoff: number
  /** Whether the cache may hold symbolic links; undefined: as the file system allows. */
  symlinks: boolean | undefined
}

type Env = Readonly<Record<string, string | undefined>>

function isOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '')
}

/** `~` as shells and Python have it. */
function expand(folder: string): string {
  return path.resolve(folder.replace(/^~(?=$|[/\\])/, homedir()))
}

function caches(env: Env): string {
  return env.XDG_CACHE_HOME || path.join(homedir(), '.cache')
}

function hubHome(env: Env): string {
  return expand(env.HF_HOME || path.join(caches(env), 'huggingface'))
}

/** The folder of the local Hugging Face cache, by the environment variables that every tool of theirs knows. */
export function huggingFaceCache(env: Env = process.env): string {
  return expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || path.join(hubHome(env), 'hub'))
}

/** The folder for models of other sites. */
export function latentCache(env: Env = process.env): string {
  return expand(env.LATENT_CACHE || path.join(caches(env), 'node-latent-diffusion'))
}

function checkEndpoint(value: unknown, name: string): URL {
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

function checkToken(value: unknown, name: string): string {
  const token = checkString(value, name, 4000).trim()
  // What a header cannot carry is a file pasted by mistake.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw invalidRange(`${name} is no access token: it is empty, or has spaces or other characters that a header cannot carry`)
  return token
}

function storedToken(env: Env): string | undefined {
  const file = expand(env.HF_TOKEN_PATH || path.join(hubHome(env), 'token'))
  try {
    const status = statSync(file)
    // A pipe would be waited for.
    return status.isFile() && status.size < 1 << 16 ? readFileSync(file, 'utf8').trim() || undefined : undefined
  } catch {
    return undefined
  }
}

function hubToken(given: unknown, env: Env): string | undefined {
  if (given === false) return undefined
  if (given !== undefined) return checkToken(given, 'hub.token')
  const named = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN)?.trim()
  if (named) return checkToken(named, 'HF_TOKEN')
  const stored = isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : storedToken(env)
  return stored === undefined ? undefined : checkToken(stored, 'the stored token')
}

function civitaiToken(given: unknown, env: Env): string | undefined {
  if (given === false) return undefined
  if (given !== undefined) return checkToken(given, 'hub.civitaiToken')
  const named = (env.CIVITAI_TOKEN || env.CIVITAI_API_TOKEN)?.trim()
  return named ? checkToken(named, 'CIVITAI_TOKEN') : undefined
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

function defaultTimeout(env: Env): number {
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT)
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, 3_600_000) : 30_000
}

/** Checks `options`; what they leave open comes from the environment. */
export function resolveHub(options: unknown, env: Env = process.env): HubSettings {
  const o = knownKeys(options, 'hub', hubKeys)
  const cacheDir = o.cacheDir === undefined ? undefined : checkPath(o.cacheDir, 'hub.cacheDir')
  const variant = o.variant === undefined ? undefined : checkString(o.variant, 'hub.variant', 64)
  if (variant !== undefined && !/^[\w-]+$/.test(variant)) throw invalidRange(`hub.variant must be a word such as 'fp16', not ${show(variant)}`)
  const offline =
    o.localFilesOnly === undefined ? isOn(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE) : checkBoolean(o.localFilesOnly, 'hub.localFilesOnly')
  return {
    hub: { endpoint: checkEndpoint(o.endpoint ?? (env.HF_ENDPOINT || hubHost), 'hub.endpoint'), token: hubToken(o.token, env) },
    civitai: {
      endpoint: checkEndpoint(o.civitaiEndpoint ?? (env.CIVITAI_ENDPOINT || civitaiHost), 'hub.civitaiEndpoint'),
      token: civitaiToken(o.civitaiToken, env),
    },
    cacheDir: cacheDir ?? huggingFaceCache(env),
    civitaiDir: cacheDir ?? latentCache(env),
    offline,
    variant,
    allowPickle: o.allowPickle === undefined ? false : checkBoolean(o.allowPickle, 'hub.allowPickle'),
    lockFile: o.lockFile === undefined ? undefined : checkPath(o.lockFile, 'hub.lockFile'),
    timeout: o.timeout === undefined ? defaultTimeout(env) : checkInteger(o.timeout, 'hub.timeout', { min: 1, max: 3_600_000 }),
    fetch: o.fetch === undefined ? undefined : checkFunction<typeof globalThis.fetch>(o.fetch, 'hub.fetch'),
    backoff: 500,
    symlinks: undefined,
  }
}
