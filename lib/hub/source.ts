/** Names of models on the sites: `hf:owner/name[@revision][/path][:tag]`, `civitai:VERSION[/file]`, and URLs copied from a browser. */
import { checkString, invalidRange, isUrl, show } from '../options/validate.js'
import type { HubSettings } from './settings.js'

/** A parsed model name. */
export interface HubSource {
  site: 'hf' | 'civitai'
  /** Name as written by the user, without path and tag. */
  name: string
  /** `owner/name`, or the number of a version. */
  repo: string
  /** Branch, tag or commit; for Civitai the version. */
  revision: string
  /** File or folder inside; '' for the root. */
  inner: string
  /** Word that selects among several files: a quantisation, a variant, a file name. */
  tag: string | undefined
}

const forms = 'hf:owner/name, hf:owner/name@revision, hf:owner/name/file or hf:owner/name:q8_0'
const hubPattern = /^hf:([\w.-]{1,96}\/[\w.-]{1,96})(?:@(refs\/pr\/\d{1,9}|[\w.-]{1,128}))?((?:\/[^/\\:]+)*)(?::([\w.-]{1,128}))?$/
const civitaiPattern = /^(?:urn:air:[\w.-]+:[\w.-]+:)?civitai:(?:\d{1,12}@)?(\d{1,12})((?:\/[^/\\:]+)?)$/

/** True for names that {@link parseHubSource} handles. */
export function isHubName(text: string): boolean {
  return /^(hf|civitai|urn:air):/i.test(text)
}

/** True if a segment would leave its folder, or is not a valid file name on some system. */
export function isUnsafePath(path: string): boolean {
  return (
    path.length > 1024 ||
    path.split('/').some(
      (segment) =>
        segment === '' ||
        segment.length > 255 ||
        // eslint-disable-next-line no-control-regex
        /^\.{1,2}$|[\\:*?"<>|\x00-\x1f\x7f]|[. ]$/.test(segment) ||
        /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(segment),
    )
  )
}

function parseHugging(text: string): HubSource {
  const match = hubPattern.exec(text)
  const [, repo = '', revision, path = '', tag] = match ?? []
  const inner = path.slice(1)
  const bad = (part: string) => /^\.{1,2}$|--|\.\./.test(part)
  if (!match || repo.split('/').some(bad) || (revision !== undefined && bad(revision)) || (inner !== '' && isUnsafePath(inner)))
    throw invalidRange(`${show(text)} is not of the form ${forms}`)
  return { site: 'hf', name: `hf:${repo}${revision === undefined ? '' : `@${revision}`}`, repo, revision: revision ?? 'main', inner, tag }
}

/** Parses a name. Throws a RangeError if it is invalid. */
export function parseHubSource(text: string): HubSource {
  if (/^hf:/i.test(text)) return parseHugging(text.replace(/^hf:/i, 'hf:'))
  const match = civitaiPattern.exec(text)
  const [, version = '', path = ''] = match ?? []
  const inner = path.slice(1)
  if (!match || (inner !== '' && isUnsafePath(inner)))
    throw invalidRange(`${show(text)} is not of the form civitai:VERSION or civitai:VERSION/file, where VERSION is the number of a model version`)
  return { site: 'civitai', name: `civitai:${version}`, repo: version, revision: version, inner, tag: undefined }
}

/** The name for a URL of one of the sites, as copied from a browser; undefined for other URLs. */
function hubNameOfUrl(url: URL, { hub, civitai }: HubSettings): string | undefined {
  const under = (endpoint: URL) => {
    const base = endpoint.pathname.replace(/\/$/, '')
    return url.host === endpoint.host && url.pathname.startsWith(`${base}/`) ? decodePath(url.pathname.slice(base.length)) : undefined
  }
  const civitaiPath = under(civitai.endpoint)
  const version = url.searchParams.get('modelVersionId') ?? /^\/api\/download\/models\/(\d+)$/.exec(civitaiPath ?? '')?.[1]
  if (civitaiPath !== undefined && version) return `civitai:${version}`
  const path = /^\/([\w.-]+\/[\w.-]+)(?:\/(?:resolve|blob|tree)\/([\w.-]+)((?:\/[^/]+)*))?\/?$/.exec(under(hub.endpoint) ?? '')
  if (!path) return undefined
  const [, repo, revision, inner = ''] = path
  return `hf:${repo}${revision === undefined || revision === 'main' ? '' : `@${revision}`}${inner}`
}

function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}

/** Parses a name or a URL of one of the sites. */
export function readHubSource(value: unknown, settings: HubSettings, name: string): HubSource {
  const text = isUrl(value) ? value.href : checkString(value, name, 2000)
  if (/^https?:/i.test(text)) {
    const known = URL.canParse(text) ? hubNameOfUrl(new URL(text), settings) : undefined
    if (known === undefined)
      throw invalidRange(
        `${name}: ${show(text)} is not the address of a model on ${settings.hub.endpoint.host} or ${settings.civitai.endpoint.host}. Other sites publish no hashes: download the file yourself and pass its path`,
      )
    return parseHubSource(known)
  }
  if (!isHubName(text)) throw invalidRange(`${name} must be of the form hf:owner/name or civitai:VERSION, not ${show(text)}`)
  return parseHubSource(text)
}
