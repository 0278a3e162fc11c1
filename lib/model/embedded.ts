/** The trained model that belongs to the package: small, really trained latent diffusion, used where no source is given. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import { isInArchive, outsideArchive, packageVersion, scope } from '../native/package-root.js'

/** Its name, in reports and in the settings of pictures. */
export const embeddedName = 'tiny-scenes'

/** Its file: beside lib/ and dist/ in a clone, else in its own package. Both are named in full, so that tracers of files find them. */
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
 * The file of the embedded model, where native code can open it.
 * @throws DiffusionError `ERR_IO` where it is not there, with what to do
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
    `The embedded model is not installed: npm install ${name}@${packageVersion()} (an optional dependency, which --omit=optional, a packer or a bundler may have left out), or load your own model`,
    { package: name },
  )
}
