/** Settings for downloads: the only place that names hosts, environment variables and defaults. */
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { checkEndpoint, checkToken, hubOptions } from '../options/hub.js'
import { readNested, type Options } from '../options/option.js'

const hubHost = 'https://huggingface.co'
const civitaiHost = 'https://civitai.com'

/** Settings for downloads. Defaults come from the environment variables that other tools use. */
export interface HubOptions {
  /** Cache folder, in the layout of Python's `huggingface_hub`. Default: HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub; for `civitai:` LATENT_CACHE, or ~/.cache/node-latent-diffusion. */
  cacheDir?: string | URL
  /** Use only the cache, without contacting a server. Default: HF_HUB_OFFLINE. */
  localFilesOnly?: boolean
  /** Weights of a diffusers folder if there are several, such as `fp16`. Default: the plain ones. */
  variant?: string
  /** The hub, or a mirror of it. Default: HF_ENDPOINT, or the public hub. */
  endpoint?: string | URL
  /** Access token of the hub, sent only to `endpoint`; `false`: none. Default: HF_TOKEN, or the token of `hf auth login`. */
  token?: string | false
  /** Default: CIVITAI_ENDPOINT, or the public site. */
  civitaiEndpoint?: string | URL
  /** Token of Civitai, sent only to `civitaiEndpoint`; `false`: none. Default: CIVITAI_TOKEN. */
  civitaiToken?: string | false
  /** Accept pickle files (.ckpt, .pt) from Civitai. They are read as data, never executed. Default false. */
  allowPickle?: boolean
  /** A file of pinned revisions (`latent.lock.json`): its models are downloaded at the pinned commit, others are added to it. Default: none. */
  lockFile?: string | URL
  /** Milliseconds without any data after which a connection is closed and retried. Default: HF_HUB_DOWNLOAD_TIMEOUT (seconds), or 30 s. */
  timeout?: number
  /** Used instead of Node's fetch, for example for a proxy. */
  fetch?: (url: string, init: never) => Promise<object>
}

const table = hubOptions satisfies Options<HubOptions>

/** One of the two sites. */
export interface Site {
  endpoint: URL
  token: string | undefined
}

/** Checked options, completed from the environment. */
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
  /** Whether to use symbolic links in the cache; undefined: if the file system supports them. */
  symlinks: boolean | undefined
}

type Env = Readonly<Record<string, string | undefined>>

function isOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '')
}

/** Expands `~`, like shells and Python. */
function expand(folder: string): string {
  return path.resolve(folder.replace(/^~(?=$|[/\\])/, homedir()))
}

function caches(env: Env): string {
  return env.XDG_CACHE_HOME || path.join(homedir(), '.cache')
}

function hubHome(env: Env): string {
  return expand(env.HF_HOME || path.join(caches(env), 'huggingface'))
}

/** The folder of the Hugging Face cache, from the environment variables that all their tools use. */
export function huggingFaceCache(env: Env = process.env): string {
  return expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || path.join(hubHome(env), 'hub'))
}

/** The folder for models of other sites. */
export function latentCache(env: Env = process.env): string {
  return expand(env.LATENT_CACHE || path.join(caches(env), 'node-latent-diffusion'))
}

function storedToken(env: Env): string | undefined {
  const file = expand(env.HF_TOKEN_PATH || path.join(hubHome(env), 'token'))
  try {
    const status = statSync(file)
    // Opening a pipe would block.
    return status.isFile() && status.size < 1 << 16 ? readFileSync(file, 'utf8').trim() || undefined : undefined
  } catch {
    return undefined
  }
}

function hubToken(given: string | false | undefined, env: Env): string | undefined {
  if (given === false) return undefined
  if (given !== undefined) return given
  const named = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN)?.trim()
  if (named) return checkToken(named, 'HF_TOKEN')
  const stored = isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : storedToken(env)
  return stored === undefined ? undefined : checkToken(stored, 'the stored token')
}

function civitaiToken(given: string | false | undefined, env: Env): string | undefined {
  if (given === false) return undefined
  if (given !== undefined) return given
  const named = (env.CIVITAI_TOKEN || env.CIVITAI_API_TOKEN)?.trim()
  return named ? checkToken(named, 'CIVITAI_TOKEN') : undefined
}

function defaultTimeout(env: Env): number {
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT)
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, 3_600_000) : 30_000
}

/** Checks `options`; missing ones come from the environment. */
export function resolveHub(options: unknown, env: Env = process.env): HubSettings {
  const o = readNested(table, options, 'hub', undefined)
  return {
    hub: { endpoint: o.endpoint ?? checkEndpoint(env.HF_ENDPOINT || hubHost, 'HF_ENDPOINT'), token: hubToken(o.token, env) },
    civitai: {
      endpoint: o.civitaiEndpoint ?? checkEndpoint(env.CIVITAI_ENDPOINT || civitaiHost, 'CIVITAI_ENDPOINT'),
      token: civitaiToken(o.civitaiToken, env),
    },
    cacheDir: o.cacheDir ?? huggingFaceCache(env),
    civitaiDir: o.cacheDir ?? latentCache(env),
    offline: o.localFilesOnly ?? isOn(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    variant: o.variant,
    allowPickle: o.allowPickle,
    lockFile: o.lockFile,
    timeout: o.timeout ?? defaultTimeout(env),
    fetch: o.fetch,
    backoff: 500,
    symlinks: undefined,
  }
}
