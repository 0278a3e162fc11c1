/** Civitai's API: the files of one version of a model. */
import { rateLimited } from './blob.js'
import { DownloadError, type DownloadDetails } from './errors.js'
import { readText, request, shown, type Answer, type Transport } from './http.js'
import { isHash, isSize, limits, type Listing, type RemoteFile } from './listing.js'
import type { Site } from './settings.js'
import { isUnsafePath, type HubSource } from './source.js'

interface FileAnswer {
  name?: unknown
  type?: unknown
  sizeKB?: unknown
  primary?: unknown
  hashes?: { SHA256?: unknown } | null
  downloadUrl?: unknown
  pickleScanResult?: unknown
  virusScanResult?: unknown
}

/** A file of a version, with the properties for choosing among several. */
export interface CivitaiFile extends RemoteFile {
  type: string
  primary: boolean
}

/** Types that the loader supports. */
const modelTypes = ['Model', 'Pruned Model', 'VAE', 'Text Encoder', 'Config']

function site(path: string, { endpoint }: Site): URL {
  return new URL(`${endpoint.href.replace(/\/$/, '')}${path}`)
}

/** The error for an unexpected answer. */
export async function refuseCivitai(answer: Answer, source: HubSource, { endpoint, token }: Site, file?: string): Promise<never> {
  const { status, url } = answer
  const details: DownloadDetails = { source: source.name, status, url: shown(url), ...(file === undefined ? {} : { file }) }
  answer.cancel()
  const limited = rateLimited(answer)
  if (limited) throw limited
  if (url.origin !== endpoint.origin)
    throw new DownloadError('bad_answer', `${url.host}, where the files are kept, answered with the status ${status}`, details, { retriable: true })
  if (status === 404)
    throw new DownloadError(
      'not_found',
      `${endpoint.host} has no model version ${source.repo}. The number is that of a version (modelVersionId in the address), not of a model`,
      details,
    )
  if (status === 401 && token === undefined) throw loginNeeded(source, endpoint, details)
  if (status === 401) throw new DownloadError('unauthorized', `${endpoint.host} rejected the token (CIVITAI_TOKEN)`, details)
  if (status === 403)
    throw new DownloadError(
      'gated',
      `${source.name} is in early access or restricted by its author: see ${site(`/model-versions/${source.repo}`, { endpoint, token }).href}`,
      details,
    )
  throw new DownloadError('bad_answer', `${shown(url)} answered with the status ${status}`, details)
}

function loginNeeded(source: HubSource, endpoint: URL, details: DownloadDetails): DownloadError {
  const message = `${source.name} is for members only: (1) log in at ${endpoint.host} and make an API key in the account settings; (2) set CIVITAI_TOKEN to it (or pass hub.civitaiToken); then call again`
  return new DownloadError('gated', message, details)
}

/** Detects a redirect to the login page, which has status 200. */
export function checkLogin(answer: Answer, source: HubSource, { endpoint }: Site): void {
  if (
    answer.url.origin === endpoint.origin &&
    /^\/(login|purchase|join)\b/.test(answer.url.pathname.slice(endpoint.pathname.replace(/\/$/, '').length))
  ) {
    answer.cancel()
    throw loginNeeded(source, endpoint, { source: source.name, url: shown(answer.url) })
  }
}

/** The URL of a file: only path and query come from the answer, on the configured site. */
function downloadUrl(value: unknown, source: HubSource, at: Site): URL {
  const fallback = site(`/api/download/models/${source.repo}`, at)
  if (typeof value !== 'string') return fallback
  try {
    const given = new URL(value)
    const { pathname } = given
    if (!/^\/api\/download\/models\/\d+$/.test(pathname)) return fallback
    const url = site(pathname, at)
    for (const [key, word] of given.searchParams) if (key !== 'token') url.searchParams.set(key, word)
    return url
  } catch {
    return fallback
  }
}

function usableFile(file: FileAnswer, source: HubSource, at: Site): CivitaiFile | undefined {
  const { name, type, sizeKB, hashes, primary } = file
  if (typeof name !== 'string' || name.includes('/') || isUnsafePath(name) || typeof type !== 'string' || !modelTypes.includes(type)) return undefined
  const scans = [file.pickleScanResult, file.virusScanResult]
  if (scans.includes('Danger')) return undefined
  const size = typeof sizeKB === 'number' ? Math.round(sizeKB * 1024) : undefined
  const hash = typeof hashes?.SHA256 === 'string' ? hashes.SHA256.toLowerCase() : undefined
  if (!isSize(size) || !isHash(hash, 'sha256')) return undefined
  return {
    path: name,
    size,
    exact: false,
    hash,
    algorithm: 'sha256',
    url: downloadUrl(file.downloadUrl, source, at),
    type,
    primary: primary === true,
  }
}

/** The files of a version that the loader supports and whose hash is published. */
export async function listCivitai(source: HubSource, transport: Transport): Promise<Listing> {
  const answer = await request(site(`/api/v1/model-versions/${source.repo}`, transport.site), { accept: 'application/json' }, transport)
  if (answer.status !== 200) await refuseCivitai(answer, source, transport.site)
  let json: { id?: unknown; files?: unknown }
  try {
    json = JSON.parse(await readText(answer, limits.answer)) as typeof json
  } catch (error) {
    if (error instanceof DownloadError) throw error
    throw new DownloadError('bad_answer', `${shown(answer.url)} did not send JSON`, { source: source.name })
  }
  if (String(json?.id) !== source.repo || !Array.isArray(json.files))
    throw new DownloadError('bad_answer', `${shown(answer.url)} does not describe the version ${source.repo}`, { source: source.name })
  const files = new Map<string, CivitaiFile>()
  for (const entry of json.files as (FileAnswer | null)[]) {
    const file = usableFile(entry ?? {}, source, transport.site)
    // A version may have several files with one name, in different precisions: the primary or first one counts.
    if (file && (file.primary || !files.has(file.path))) files.set(file.path, file)
  }
  if (files.size === 0)
    throw new DownloadError('choice', `${source.name} has no supported file that passed the site's scans and has a published SHA-256`, {
      source: source.name,
    })
  return { source, commit: source.repo, files, licence: undefined, gated: false }
}
