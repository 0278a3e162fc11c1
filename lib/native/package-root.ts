import { readFileSync } from 'node:fs'
import path from 'node:path'

/** The scope of the packages that belong to this one: binaries, the embedded model, sources. */
export const scope = '@node-latent-diffusion'

/** A path that native code can open: packagers place such files of an asar archive next to it. */
export function outsideArchive(file: string): string {
  return file.replace(/(\.asar)(?=[\\/]|$)/, '$1.unpacked')
}

/** Whether a folder or file is inside an asar archive, which only JavaScript in Electron can read. */
export function isInArchive(file: string = __dirname): boolean {
  return /\.asar[\\/]/.test(file)
}

/** Root of the package, found from `dist/` or `lib/`, as a path that native code can open. */
export function packageRoot(folder: string = __dirname): string {
  return outsideArchive(path.resolve(folder, '..', '..'))
}

/** Version of this package; all packages in its scope have the same. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(path.join(__dirname, '..', '..', 'package.json'), 'utf8')) as { version?: unknown }
  return String(version)
}
