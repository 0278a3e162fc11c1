/** Finds and loads the native binary. */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { BinaryNotFoundError } from '../errors.js'
import { packageRoot } from './package-root.js'
import type { NativeAddon } from './contract.js'

/** The C library, where the name of a prebuilt binary depends on it. */
function libc(): string | undefined {
  if (process.platform !== 'linux') return undefined
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime ? 'glibc' : 'musl'
}

/** Name of the binary that fits, out of a folder in prebuildify's naming (`NAME[.TAG...].node`); files for another C library are passed over. */
export function chooseBinary(files: readonly string[], system: string | undefined): string | undefined {
  const fits = (file: string) => {
    const tags = file.split('.').slice(1, -1)
    const wanted = tags.find((tag) => tag === 'glibc' || tag === 'musl')
    return file.endsWith('.node') && (wanted === undefined || wanted === system) && !tags.includes('electron')
  }
  // The more a name says about where it runs, the better it fits.
  return files.filter(fits).sort((a, b) => b.split('.').length - a.split('.').length || a.localeCompare(b))[0]
}

function listing(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Where the binary may be, in the order of trying: the environment's word, a build in this folder, a prebuilt binary. */
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

/** Thrown by the binary itself on a processor it cannot run on: trying another binary would not help. */
function isVerdict(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as { code?: unknown }).code === 'ERR_DEVICE'
}

/** Loads the first candidate that can be loaded. Throws {@link BinaryNotFoundError}, or the binary's own refusal as it is. */
export function loadAddon(root?: string, env?: NodeJS.ProcessEnv): NativeAddon {
  const require = createRequire(__filename)
  const tried: { path: string; problem: string }[] = []
  for (const candidate of candidates(root, env)) {
    if (!candidate.exists) {
      tried.push({ path: candidate.path, problem: 'not there' })
      continue
    }
    try {
      return require(candidate.path) as NativeAddon
    } catch (error) {
      if (isVerdict(error)) throw error
      tried.push({ path: candidate.path, problem: String((error as Error | null)?.message ?? error) })
    }
  }
  const list = tried.map((one) => `  ${one.path}: ${one.problem}`).join('\n')
  throw new BinaryNotFoundError(
    `No native binary could be loaded for ${process.platform}-${process.arch}. Tried:\n${list}\n` +
      'Build it from source with `npx latent build` (needs CMake and a C++17 compiler), or set NODE_LATENT_DIFFUSION_BINARY to a binary.',
    { platform: process.platform, arch: process.arch, tried },
  )
}
