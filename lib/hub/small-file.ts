/** Small text files of the caches: branches, lists, locks. Unreadable ones count as missing. */
import { readRegular, type FileKind } from '../files/regular-file.js'

const kind = (maxBytes: number): FileKind => ({ what: '', maxBytes, refuse: (message) => new Error(message) })

/** The text; undefined if there is no such regular file or it is too large. */
export async function readSmall(file: string, maxBytes = 1 << 16): Promise<string | undefined> {
  return readRegular(file, kind(maxBytes)).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  )
}
