/** Node's fetch, or one that uses the proxy named in the environment. */
import { DownloadError } from './errors.js'
import type { HubSettings } from './settings.js'

const proxyVariables = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'] as const

interface Undici {
  fetch: typeof globalThis.fetch
  EnvHttpProxyAgent: new () => unknown
}

/** Newer versions of Node.js read the variables themselves if enabled. */
function nodeHasProxies(env: NodeJS.ProcessEnv): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return env.NODE_USE_ENV_PROXY === '1' && (major >= 24 || (major === 22 && minor >= 21))
}

/** undici handles the hosts in NO_PROXY; if all hosts are excluded, no proxy is needed. */
function wantsProxy(env: NodeJS.ProcessEnv): string | undefined {
  if ((env.NO_PROXY ?? env.no_proxy ?? '').trim() === '*') return undefined
  return proxyVariables.find((name) => env[name])
}

let cached: Promise<typeof globalThis.fetch> | undefined

async function throughUndici(variable: string): Promise<typeof globalThis.fetch> {
  let undici: Undici
  try {
    // An optional peer dependency, for use behind a proxy.
    const name = 'undici'
    undici = (await import(name)) as Undici
  } catch (cause) {
    const message = `${variable} names a proxy, but this version of Node.js does not use it: run \`npm install undici@7\`, or use Node.js 24 and set NODE_USE_ENV_PROXY=1`
    throw new DownloadError('network', message, {}, { cause, retriable: false })
  }
  const dispatcher = new undici.EnvHttpProxyAgent()
  return (input, init) => undici.fetch(input, { ...init, dispatcher } as RequestInit)
}

/** The fetch function to use. */
export async function chooseFetch({ fetch, hub, civitai }: HubSettings, env: NodeJS.ProcessEnv = process.env): Promise<typeof globalThis.fetch> {
  if (fetch) return fetch
  const variable = nodeHasProxies(env) ? undefined : wantsProxy(env)
  const local = [hub, civitai].every(({ endpoint }) => /^(localhost|127\.|\[::1\])/.test(endpoint.hostname))
  if (variable === undefined || local) return globalThis.fetch
  return (cached ??= throughUndici(variable))
}
