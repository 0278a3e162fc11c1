/** The files of a repository at one commit, on any site. */
import type { HubSource } from './source.js'

/** A file of a repository. */
export interface RemoteFile {
  /** With `/` between folders. */
  path: string
  /** Bytes. */
  size: number
  /** False if the site publishes a rounded size, so that only the hash decides. */
  exact: boolean
  /** Hexadecimal: SHA-256 for large files, git's hash for small ones. It is the name of the blob in the cache. */
  hash: string
  algorithm: 'sha256' | 'git-sha1'
  url: URL
  /** Further fields of Python's tree cache. */
  git?: { blobId: string; xetHash?: string }
}

/** A repository at one commit. */
export interface Listing {
  source: HubSource
  /** The commit of the branch or tag. */
  commit: string
  files: ReadonlyMap<string, RemoteFile>
  /** The licence named on its page. */
  licence: string | undefined
  gated: boolean
}

/** Limits that no model exceeds. */
export const limits = { file: 2 ** 41, files: 200_000, answer: 64 << 20 } as const

const hex: Record<RemoteFile['algorithm'], RegExp> = { sha256: /^[0-9a-f]{64}$/, 'git-sha1': /^[0-9a-f]{40}$/ }

export function isHash(value: unknown, algorithm: RemoteFile['algorithm']): value is string {
  return typeof value === 'string' && hex[algorithm].test(value)
}

export function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= limits.file
}

/** The algorithm of the hash in a blob's name; undefined for other files. */
export function algorithmOf(name: string): RemoteFile['algorithm'] | undefined {
  return (['sha256', 'git-sha1'] as const).find((algorithm) => isHash(name, algorithm))
}
