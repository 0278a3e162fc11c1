/** Finds and loads the native binary. */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { BinaryNotFoundError } from '../errors.js'
import { adviceFor, isMissing, type Attempt } from './load-advice.js'
import { packageRoot, packageVersion } from './package-root.js'
import { libc, platformPackage, requirePlatformPackage, type LoadedPackage } from './platform-package.js'
import type { NativeAddon } from './contract.js'

/** Name of the matching binary in a folder with prebuildify's naming (`NAME[.TAG...].node`); files for another C library are ignored. */
export function chooseBinary(files: readonly string[], system: string | undefined): string | undefined {
  const fits = (file: string) => {
    const tags = file.split('.').slice(1, -1)
    const wanted = tags.find((tag) => tag === 'glibc' || tag === 'musl')
    return file.endsWith('.node') && (wanted === undefined || wanted === system) && !tags.includes('electron')
  }
  // The more specific a name, the better it matches.
  return files.filter(fits).sort((a, b) => b.split('.').length - a.split('.').length || a.localeCompare(b))[0]
}

function listing(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Binaries of a clone, in order: from the environment, a local build, one made by prebuildify. */
export function candidates(root: string = packageRoot(), env: NodeJS.ProcessEnv = process.env): { path: string; exists: boolean }[] {
  const given = env.NODE_LATENT_DIFFUSION_BINARY
  if (given) return [{ path: path.resolve(given), exists: existsSync(given) }]
  const release = path.join(root, 'build', 'Release')
  const prebuilt = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`)
  return [
    [release, undefined] as const,
    [prebuilt, libc()] as const,
  ].map(([folder, system]) => {
    const name = chooseBinary(listing(folder), system)
    return { path: path.join(folder, name ?? '*.node'), exists: name !== undefined }
  })
}

/** Thrown by the binary itself on an unsupported processor: trying another binary would not help. */
function isVerdict(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as { code?: unknown }).code === 'ERR_DEVICE'
}

function firstLine(error: unknown): string {
  return String((error as Error | null)?.message ?? error).split('\n')[0]!
}

/** The binary of the platform package, or the failed attempt. A binary of another version is not compatible with this code. */
function fromPackage({ addon, error }: LoadedPackage): NativeAddon | Attempt {
  const name = platformPackage()
  if (addon) {
    const [theirs, ours] = [(JSON.parse(addon.versions()) as { version: string }).version, packageVersion()]
    return theirs === ours ? addon : { path: name, problem: `is version ${theirs}; this package is ${ours}: install ${name}@${ours}` }
  }
  if (error === undefined) return { path: name, problem: 'there is no such package' }
  return { path: name, problem: isMissing(error, name) ? 'not installed' : firstLine(error), error }
}

/**
 * Loads the first loadable binary: of a clone, else of the platform package, which `installed` loads. If the environment names one, only that is tried. Throws
 * {@link BinaryNotFoundError}, or the binary's own error unchanged.
 */
export function loadAddon(
  root?: string,
  env: NodeJS.ProcessEnv = process.env,
  installed: () => LoadedPackage = requirePlatformPackage,
): NativeAddon {
  const require = createRequire(__filename)
  const tried: Attempt[] = []
  for (const candidate of candidates(root, env)) {
    if (!candidate.exists) {
      tried.push({ path: candidate.path, problem: 'not there' })
      continue
    }
    try {
      return require(candidate.path) as NativeAddon
    } catch (error) {
      if (isVerdict(error)) throw error
      tried.push({ path: candidate.path, problem: firstLine(error), error })
    }
  }
  let supported = true
  if (!env.NODE_LATENT_DIFFUSION_BINARY) {
    const loaded = installed()
    if (isVerdict(loaded.error)) throw loaded.error as Error
    const found = fromPackage(loaded)
    if (!('problem' in found)) return found
    tried.push(found)
    supported = found.problem !== 'there is no such package'
  }
  const list = tried.map((one) => `  ${one.path}: ${one.problem}`).join('\n')
  throw new BinaryNotFoundError(`No native binary could be loaded for ${process.platform}-${process.arch}. Tried:\n${list}\n${adviceFor(tried, supported)}`, {
    platform: process.platform,
    arch: process.arch,
    tried: tried.map(({ path: where, problem }) => ({ path: where, problem })),
  })
}
