/** What a repository holds at one commit, whichever site it is on. */
import type { HubSource } from './source.js'

/** A file of a repository. */
export interface RemoteFile {
  /** With `/` between folders. */
  path: string
  /** Bytes. */
  size: number
  /** False where the site publishes a rounded size: then the hash alone decides. */
  exact: boolean
  /** Hexadecimal: SHA-256 of large files, git's own hash of small ones. It names the blob in the cache. */
  hash: string
  algorithm: 'sha256' | 'git-sha1'
  url: URL
  /** What Python's tree cache keeps besides. */
  git?: { blobId: string; xetHash?: string }
}

/** A repository at one commit. */
export interface Listing {
  source: HubSource
  /** Where the branch or tag points. */
  commit: string
  files: ReadonlyMap<string, RemoteFile>
  /** The licence as its page names it. */
  licence: string | undefined
  gated: boolean
}

/** No model has files or lists beyond these. */
export const limits = { file: 2 ** 41, files: 200_000, answer: 64 << 20 } as const

const hex: Record<RemoteFile['algorithm'], RegExp> = { sha256: /^[0-9a-f]{64}$/, 'git-sha1': /^[0-9a-f]{40}$/ }

export function isHash(value: unknown, algorithm: RemoteFile['algorithm']): value is string {
  return typeof value === 'string' && hex[algorithm].test(value)
}

export function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= limits.file
}

/** Which hash a blob's name is; undefined for other files. */
export function algorithmOf(name: string): RemoteFile['algorithm'] | undefined {
  return (['sha256', 'git-sha1'] as const).find((algorithm) => isHash(name, algorithm))
}
