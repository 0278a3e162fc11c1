/** The tables that the build makes (`npm run build:assets`). They lie in assets/, beside lib/ and dist/ alike. */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompress, brotliDecompressSync, type BrotliOptions } from 'node:zlib'
import { DiffusionError } from '../errors.js'

const folder = path.join(__dirname, '..', '..', 'assets')
const maxBytes = 4 << 20

const decompress = promisify<Uint8Array, BrotliOptions, Buffer>(brotliDecompress)

function unreadable(what: string, file: string, cause: unknown): DiffusionError {
  return new DiffusionError('ERR_IO', `${what} ${file} cannot be read; in a clone, run "npm run build:assets"`, { path: file }, { cause })
}

/**
 * A small compressed text asset, by its name in assets/ or by an absolute path.
 * @throws DiffusionError `ERR_IO` where it is missing or broken
 */
export function readAsset(name: string, what: string): string {
  const file = path.resolve(folder, name)
  try {
    return brotliDecompressSync(readFileSync(file), { maxOutputLength: maxBytes }).toString('utf8')
  } catch (cause) {
    throw unreadable(what, file, cause)
  }
}

/** The same for large ones: read and decompressed on other threads. */
export async function loadAsset(name: string, what: string): Promise<string> {
  const file = path.resolve(folder, name)
  try {
    return (await decompress(await readFile(file), { maxOutputLength: maxBytes })).toString('utf8')
  } catch (cause) {
    throw unreadable(what, file, cause)
  }
}
