/** Loads the packages of commands that are not part of the library. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { packageVersion, scope } from '../native/package-root.js'

/** The package: of a clone, or the installed one, which must have the same version. */
export function loadPackage<T>(short: 'server' | 'worker'): T {
  const name = `${scope}/${short}`
  const wanted = `npm install ${name}@${packageVersion()}`
  const clone = path.resolve(__dirname, '..', '..', 'packages', short, 'package.json')
  if (existsSync(clone)) return createRequire(clone)('./dist/index.js') as T
  for (const from of [__filename, path.join(process.cwd(), 'package.json')]) {
    const load = createRequire(from)
    let manifest: { version: string }
    try {
      manifest = load(`${name}/package.json`) as { version: string }
    } catch {
      continue // missing: try the next place
    }
    if (manifest.version !== packageVersion()) throw new Error(`${name} is version ${manifest.version}: ${wanted}`)
    return load(name) as T
  }
  throw new Error(`the ${short} is in a separate package: ${wanted}`)
}
