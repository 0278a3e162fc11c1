/** The tables that the build makes (`npm run build:assets`). They lie in assets/, beside lib/ and dist/ alike. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { DiffusionError } from '../errors.js'

const folder = path.join(__dirname, '..', '..', 'assets')
const maxBytes = 4 << 20

/**
 * A compressed text asset, by its name in assets/ or by an absolute path.
 * @throws DiffusionError `ERR_IO` where it is missing or broken
 */
export function readAsset(name: string, what: string): string {
  const file = path.resolve(folder, name)
  try {
    return brotliDecompressSync(readFileSync(file), { maxOutputLength: maxBytes }).toString('utf8')
  } catch (cause) {
    throw new DiffusionError('ERR_IO', `${what} ${file} cannot be read; in a clone, "npm run build:assets" makes it`, { path: file }, { cause })
  }
}
