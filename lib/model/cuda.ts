/** The CUDA engine, a shared library next to the addon: found here, tested in a child process, and only then loaded into this process. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { addon, guarded } from '../native/call.js'
import { outsideArchive, packageRoot, packageVersion, scope } from '../native/package-root.js'

const probeTimeout = 30_000 // milliseconds; the first use of a driver takes a few seconds

/** A library, or why the one found cannot be used. */
export interface FoundLibrary {
  path: string
  refused?: string
}

function versionOf(manifest: string): string {
  return String((JSON.parse(readFileSync(manifest, 'utf8')) as { version?: unknown }).version)
}

/** The path of the CUDA engine: from the environment, a build in this folder, or the optional package of the same version. Undefined if there is none. */
export function findCudaLibrary(
  root: string = packageRoot(),
  env: NodeJS.ProcessEnv = process.env,
  ours: string = packageVersion(),
): FoundLibrary | undefined {
  const given = env.LATENT_CUDA_LIBRARY
  if (given) {
    const file = path.resolve(given)
    return existsSync(file) ? { path: file } : { path: file, refused: `LATENT_CUDA_LIBRARY: ${file} does not exist` }
  }
  const file = process.platform === 'win32' ? 'latent-cuda.dll' : 'latent-cuda.so'
  const system = `${process.platform}-${process.arch}`
  for (const folder of [path.join(root, 'build', 'Release'), path.join(root, 'prebuilds', system)]) {
    if (existsSync(path.join(folder, file))) return { path: path.join(folder, file) }
  }
  const name = `${scope}/${system}-cuda`
  let manifest: string
  try {
    manifest = createRequire(path.join(root, 'package.json')).resolve(`${name}/package.json`)
  } catch {
    return undefined
  }
  const library = outsideArchive(path.join(path.dirname(manifest), file))
  const theirs = versionOf(manifest)
  if (theirs !== ours) {
    return { path: library, refused: `${name} is version ${theirs} and node-latent-diffusion ${ours}; install ${name}@${ours}` }
  }
  return existsSync(library) ? { path: library } : { path: library, refused: `${name} has no ${file}; install it again` }
}

/** Loads the library in a child process and lists its devices. Returns the error, or undefined. */
export function probeCudaLibrary(
  library: string,
  timeout = probeTimeout,
  script = path.join(__dirname, '..', '..', 'dist', 'native', 'cuda-probe.js'),
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const env = { ...process.env, ELECTRON_RUN_AS_NODE: '1', LATENT_CUDA_LIBRARY: library }
    execFile(process.execPath, [script, library], { env, timeout, killSignal: 'SIGKILL', windowsHide: true }, (error, stdout) => {
      if (stdout.trimEnd().endsWith('ok')) resolve(undefined)
      else if (error?.killed) resolve(`the CUDA engine or the driver did not answer within ${timeout / 1000} seconds (${library})`)
      else {
        const how = error?.signal ?? (error?.code === undefined ? 'no answer' : `exit code ${error.code}`)
        resolve(`the CUDA engine or the driver crashed in the test process (${how}; ${library}); update the driver`)
      }
    })
  })
}

let prepared: Promise<void> | undefined

async function prepare(): Promise<void> {
  const found = findCudaLibrary()
  if (!found) return
  const refused = found.refused ?? (await probeCudaLibrary(found.path))
  guarded(() => addon().setCudaLibrary(found.path, refused ?? ''))
}

/** Finds, tests and registers the CUDA engine, once per process, so that the engine knows its GPUs. */
export function prepareCuda(): Promise<void> {
  return (prepared ??= prepare())
}

/** The same, if `device` is a CUDA device. */
export async function prepareDevice(device: string): Promise<void> {
  if (/^cuda(:|$)/.test(device)) await prepareCuda()
}
