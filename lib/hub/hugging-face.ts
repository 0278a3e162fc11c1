/** The API of the Hugging Face hub and its mirrors: contents of repositories, and meanings of errors. */
import { rateLimited } from './blob.js'
import { DownloadError, type DownloadDetails } from './errors.js'
import { readText, request, shown, type Answer, type Transport } from './http.js'
import { isHash, isSize, limits, type Listing, type RemoteFile } from './listing.js'
import type { Site } from './settings.js'
import type { HubSource } from './source.js'
import { isUnsafePath } from './source.js'

interface ModelAnswer {
  sha?: unknown
  gated?: unknown
  cardData?: { license?: unknown; license_name?: unknown } | null
  tags?: unknown
}

interface TreeEntry {
  type?: unknown
  path?: unknown
  size?: unknown
  oid?: unknown
  lfs?: { oid?: unknown; size?: unknown } | null
  xetHash?: unknown
}

function api({ endpoint }: Site, path: string): URL {
  return new URL(`${endpoint.href.replace(/\/$/, '')}${path}`)
}

function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

/** The page of a repository. */
function page({ endpoint }: Site, repo: string): string {
  return `${endpoint.href.replace(/\/$/, '')}/${repo}`
}

/** The steps to get access to a gated model. */
function gateMessage(source: HubSource, site: Site, what: string): string {
  const steps = [`open ${page(site, source.repo)} in a browser, log in and accept it`]
  if (site.token === undefined)
    steps.push(`create a read token at ${page(site, 'settings/tokens')}`, 'set HF_TOKEN to it (or run `hf auth login`, or pass hub.token)')
  else steps.push('make sure that the token (HF_TOKEN or the stored one) belongs to the same account and can read gated repositories')
  return `${source.name} requires that you accept ${what}: ${steps.map((step, i) => `(${i + 1}) ${step}`).join('; ')}; then call again`
}

/** The error for an unexpected answer of the hub or of the storage that it redirects to. */
export async function refuseHub(answer: Answer, source: HubSource, site: Site, licence?: string, file?: string): Promise<never> {
  const { status, headers, url } = answer
  const details: DownloadDetails = { source: source.name, status, url: shown(url), ...(file === undefined ? {} : { file }) }
  answer.cancel()
  const limited = rateLimited(answer)
  if (limited) throw limited
  if (url.origin !== site.endpoint.origin)
    throw new DownloadError('bad_answer', `${url.host}, where the hub stores files, answered with the status ${status}`, details, {
      retriable: true,
    })
  const code = headers.get('x-error-code')
  if (code === 'GatedRepo') throw new DownloadError('gated', gateMessage(source, site, licence ? `its licence (${licence})` : 'its licence'), details)
  if (code === 'RevisionNotFound') throw new DownloadError('not_found', `${source.name} has no branch, tag or commit ${source.revision}`, details)
  if (code === 'EntryNotFound') throw new DownloadError('not_found', `${source.name} has no ${file ?? 'such file'}`, details)
  if (code === 'RepoNotFound' || status === 404 || (status === 401 && site.token === undefined)) {
    const advice = site.token === undefined ? 'if it is private, set HF_TOKEN' : 'if it is private, the token may lack access'
    throw new DownloadError('not_found', `${site.endpoint.host} has no model ${source.repo}. Check the name; ${advice}`, details)
  }
  if (status === 401)
    throw new DownloadError('unauthorized', `${site.endpoint.host} rejected the token: it is wrong or expired (HF_TOKEN, or the stored one)`, details)
  if (status === 403) {
    const who = site.token === undefined ? 'without a token (set HF_TOKEN)' : 'with the token in use'
    const why = headers.get('x-error-message')?.slice(0, 200) ?? 'status 403'
    throw new DownloadError('unauthorized', `${site.endpoint.host} does not allow access to ${source.name} ${who}: ${why}`, details)
  }
  throw new DownloadError('bad_answer', `${shown(url)} answered with the status ${status}`, details)
}

async function readJson(answer: Answer): Promise<unknown> {
  const text = await readText(answer, limits.answer)
  try {
    return JSON.parse(text)
  } catch {
    throw new DownloadError('bad_answer', `${shown(answer.url)} did not send JSON: it is not the hub's API, or a login page answered instead`, {
      url: shown(answer.url),
    })
  }
}

async function getJson(url: URL, source: HubSource, transport: Transport): Promise<{ json: unknown; headers: Headers }> {
  const answer = await request(url, { accept: 'application/json' }, transport)
  if (answer.status !== 200) await refuseHub(answer, source, transport.site)
  return { json: await readJson(answer), headers: answer.headers }
}

function badListing(source: HubSource, why: string): DownloadError {
  return new DownloadError('bad_answer', `The list of files of ${source.name} ${why}`, { source: source.name })
}

/** A file of the tree. Other entries and unsafe names are skipped, because they cannot be requested. */
function readEntry(entry: TreeEntry, source: HubSource, commit: string, site: Site): RemoteFile | undefined {
  const { type, path, oid, lfs } = entry
  if (type !== 'file' || typeof path !== 'string' || isUnsafePath(path)) return undefined
  const size = lfs ? lfs.size : entry.size
  const hash = lfs ? lfs.oid : oid
  const algorithm = lfs ? 'sha256' : 'git-sha1'
  if (!isSize(size)) throw badListing(source, `has no valid size for ${path}`)
  if (!isHash(hash, algorithm)) throw badListing(source, `has no hash for ${path}`)
  const { xetHash } = entry
  return {
    path,
    size,
    exact: true,
    hash,
    algorithm,
    url: api(site, `/${source.repo}/resolve/${commit}/${encoded(path)}`),
    git: { blobId: typeof oid === 'string' ? oid : '', ...(typeof xetHash === 'string' && isHash(xetHash, 'sha256') ? { xetHash } : {}) },
  }
}

/** The cursor of the next page. Mirrors may pass on the hub's own URLs, so only the cursor is taken from the link. */
function nextCursor(headers: Headers, base: URL): string | undefined {
  const link = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '')?.[1]
  if (link === undefined) return undefined
  try {
    return new URL(link, base).searchParams.get('cursor') ?? undefined
  } catch {
    return undefined
  }
}

async function readTree(source: HubSource, commit: string, transport: Transport): Promise<Map<string, RemoteFile>> {
  const files = new Map<string, RemoteFile>()
  const cursors = new Set<string>()
  for (let cursor: string | undefined; ;) {
    const url = api(transport.site, `/api/models/${source.repo}/tree/${commit}?recursive=true&expand=false`)
    if (cursor !== undefined) url.searchParams.set('cursor', cursor)
    const { json, headers } = await getJson(url, source, transport)
    if (!Array.isArray(json)) throw badListing(source, 'is not a list')
    for (const entry of json as unknown[]) {
      if (typeof entry !== 'object' || entry === null) throw badListing(source, 'contains entries that are not files')
      const file = readEntry(entry, source, commit, transport.site)
      if (file) files.set(file.path, file)
    }
    if (files.size > limits.files) throw badListing(source, `is longer than ${limits.files}`)
    cursor = nextCursor(headers, url)
    if (cursor === undefined) return files
    if (cursors.has(cursor) || cursors.size > 1000) throw badListing(source, 'has no end')
    cursors.add(cursor)
  }
}

function readLicence({ cardData, tags }: ModelAnswer): string | undefined {
  const named = cardData?.license === 'other' ? cardData.license_name : cardData?.license
  const tagged = Array.isArray(tags) ? tags.find((tag): tag is string => typeof tag === 'string' && tag.startsWith('license:'))?.slice(8) : undefined
  const licence = typeof named === 'string' ? named : tagged
  return licence === undefined ? undefined : licence.replace(/[^\w .+-]/g, '').slice(0, 80)
}

/** The files of a repository at the commit that its branch or tag points to now. */
export async function listHub(source: HubSource, transport: Transport): Promise<Listing> {
  const url = api(transport.site, `/api/models/${source.repo}/revision/${encodeURIComponent(source.revision)}`)
  const { json } = await getJson(url, source, transport)
  const model = (typeof json === 'object' && json !== null ? json : {}) as ModelAnswer
  const { sha } = model
  if (!isHash(sha, 'git-sha1')) throw badListing(source, 'has no commit')
  if (isHash(source.revision, 'git-sha1') && sha !== source.revision) throw badListing(source, `is for commit ${sha}, not the requested one`)
  const files = await readTree(source, sha, transport)
  return { source, commit: sha, files, licence: readLicence(model), gated: model.gated !== undefined && model.gated !== false }
}
