/** Zip archives from outside: opened like all files, listed within limits. */
import { Readable } from 'node:stream'
import yauzl from 'yauzl'
import { openRegular, readRange, type FileKind, type RegularFile } from './regular-file.js'

/** Most bytes of names, extra fields and comments in the list of an archive. */
const maxListBytes = 16 << 20

const pieceBytes = 1 << 18

async function* piecesOf(file: RegularFile, start: number, end: number): AsyncGenerator<Buffer, void> {
  for (let at = start; at < end;) {
    const piece = await readRange(file, at, Math.min(end, at + pieceBytes))
    if (piece.length === 0) return
    at += piece.length
    yield piece
  }
}

/** Lets yauzl read from a handle, which waits for pending reads when it is closed. */
class HandleReader extends yauzl.RandomAccessReader {
  readonly #file: RegularFile

  constructor(file: RegularFile) {
    super()
    this.#file = file
  }

  override _readStreamForRange(start: number, end: number): Readable {
    // Not the handle's own stream, which would close the handle when destroyed, while other entries are still being read.
    return Readable.from(piecesOf(this.#file, start, end), { objectMode: false })
  }

  override read(buffer: Buffer, offset: number, length: number, position: number, callback: (error: Error | null) => void): void {
    this.#file.handle.read(buffer, offset, length, position).then(
      ({ bytesRead }) => callback(bytesRead < length ? new Error('unexpected EOF') : null),
      (error: unknown) => callback(error as Error),
    )
  }
}

/** An open archive. */
export class ZipArchive {
  readonly #zip: yauzl.ZipFile
  readonly #file: RegularFile

  private constructor(zip: yauzl.ZipFile, file: RegularFile) {
    this.#zip = zip
    this.#file = file
  }

  /** @throws as openRegular(); Error if it is not an archive */
  static async open(path: string, kind: FileKind): Promise<ZipArchive> {
    const file = await openRegular(path, kind)
    try {
      const options = { lazyEntries: true, autoClose: false, validateEntrySizes: true, strictFileNames: false }
      const zip = await new Promise<yauzl.ZipFile>((resolve, reject) => {
        yauzl.fromRandomAccessReader(new HandleReader(file), file.size, options, (error, opened) => (error ? reject(error) : resolve(opened)))
      })
      return new ZipArchive(zip, file)
    } catch (error) {
      await file.handle.close()
      throw error
    }
  }

  /** The entries. `tooMany` creates the error for a list beyond the limits. */
  list(maxEntries: number, tooMany: (what: string) => Error): Promise<yauzl.Entry[]> {
    const zip = this.#zip
    return new Promise((resolve, reject) => {
      const entries: yauzl.Entry[] = []
      let bytes = 0
      zip.on('entry', (entry: yauzl.Entry) => {
        bytes += entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength
        if (bytes > maxListBytes) return reject(tooMany(`a list of more than ${maxListBytes} bytes`))
        if (entries.push(entry) > maxEntries) return reject(tooMany(`more than ${maxEntries} files`))
        zip.readEntry()
      })
      zip.on('end', () => resolve(entries))
      zip.on('error', reject)
      zip.readEntry()
    })
  }

  /** The contents of an entry; `range` is in stored bytes, for uncompressed entries. */
  stream(entry: yauzl.Entry, range?: { start: number; end: number }): Promise<Readable> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, readable: Readable) => (error ? reject(error) : resolve(readable))
      if (range) this.#zip.openReadStream(entry, range, done)
      else this.#zip.openReadStream(entry, done)
    })
  }

  async close(): Promise<void> {
    await this.#file.handle.close()
  }
}
