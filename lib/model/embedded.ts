/** The model that travels inside the package: a small, really trained latent diffusion model, used where no source is given. */
import path from 'node:path'
import { packageRoot } from '../native/package-root.js'

/** Its name, in reports and in the settings of pictures. */
export const embeddedName = 'tiny-scenes'

/** Its file. It lies beside lib/ and dist/ alike. */
export function embeddedModel(): string {
  return path.join(packageRoot(), 'models', `${embeddedName}.gguf`)
}
