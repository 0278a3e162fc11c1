import { readFileSync } from 'node:fs'
import path from 'node:path'

/** The scope of the packages that belong to this one: binaries, the embedded model, sources. */
export const scope = '@node-latent-diffusion'

/** A path as native code can open it: what lies in an asar archive is put beside it by packers. */
export function outsideArchive(file: string): string {
  return file.replace(/(\.asar)(?=[\\/]|$)/, '$1.unpacked')
}

/** Whether a folder or file is inside an asar archive, which only JavaScript of Electron can read. */
export function isInArchive(file: string = __dirname): boolean {
  return /\.asar[\\/]/.test(file)
}

/** Root of the package, from a folder of `dist/` as of `lib/`, as native code can open it. */
export function packageRoot(folder: string = __dirname): string {
  return outsideArchive(path.resolve(folder, '..', '..'))
}

/** Version of this package, which is that of every package in its scope. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(path.join(__dirname, '..', '..', 'package.json'), 'utf8')) as { version?: unknown }
  return String(version)
}
