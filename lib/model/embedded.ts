/** The small trained model of the package, used if no source is given. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import { isInArchive, outsideArchive, packageVersion, scope } from '../native/package-root.js'

/** Its name, in reports and in the settings of images. */
export const embeddedName = 'tiny-scenes'

/** Its file: next to lib/ and dist/ in a clone, else in its own package. Both paths are literal, so that dependency tracers find them. */
function find(): string | undefined {
  const file = path.join(__dirname, '..', '..', 'models', 'tiny-scenes.gguf')
  if (existsSync(file)) return file
  try {
    return require.resolve('@node-latent-diffusion/tiny-scenes/tiny-scenes.gguf')
  } catch {
    return undefined
  }
}

/**
 * The file of the embedded model, at a path that native code can open.
 * @throws DiffusionError `ERR_IO` if it is missing, with advice
 */
export function embeddedModel(locate: () => string | undefined = find): string {
  const found = locate()
  const file = found === undefined ? undefined : outsideArchive(found)
  if (file !== undefined && existsSync(file)) return file
  const name = `${scope}/${embeddedName}`
  if (found !== undefined && isInArchive(found)) {
    throw new DiffusionError(
      'ERR_IO',
      `The embedded model is inside an asar archive, where native code cannot open it: unpack "**/node_modules/${scope}/**" (a rule for only *.node leaves it in the archive), or load your own model`,
      { path: found, package: name },
    )
  }
  throw new DiffusionError(
    'ERR_IO',
    `The embedded model is not installed: npm install ${name}@${packageVersion()} (an optional dependency, which --omit=optional, a packager or a bundler may have omitted), or load your own model`,
    { package: name },
  )
}
