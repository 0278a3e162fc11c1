import path from 'node:path'

/**
 * Root of the package, from `dist/native` as from `lib/native`. What native code opens or loads cannot lie in an asar archive: packers put it beside it.
 */
export function packageRoot(folder: string = path.join(__dirname, 'native')): string {
  return path.resolve(folder, '..', '..').replace(/(\.asar)(?=[\\/]|$)/, '$1.unpacked')
}
