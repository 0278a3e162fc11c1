/** Small text files of the caches: branches, lists, locks. Whatever cannot be read is as good as absent. */
import { readRegular, type FileKind } from '../files/regular-file.js'

const kind = (maxBytes: number): FileKind => ({ what: '', maxBytes, refuse: (message) => new Error(message) })

/** The text; undefined where there is no such regular file, or a larger one. */
export async function readSmall(file: string, maxBytes = 1 << 16): Promise<string | undefined> {
  return readRegular(file, kind(maxBytes)).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  )
}
