import path from 'node:path'

/**
 * Root of the package, from a folder of `dist/` as of `lib/`. What native code opens or loads cannot lie in an asar archive: packers put it beside it.
 */
export function packageRoot(folder: string = __dirname): string {
  return path.resolve(folder, '..', '..').replace(/(\.asar)(?=[\\/]|$)/, '$1.unpacked')
}
