/** The CUDA engine: a shared library beside the addon, found here, tried by a child process, and only then loaded into this one. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { addon, guarded } from '../native/call.js'
import { outsideArchive, packageRoot, packageVersion, scope } from '../native/package-root.js'

const probeTimeout = 30_000 // milliseconds; the first use of a driver takes a few seconds

/** A library that was found, or why what was found is not taken. */
export interface FoundLibrary {
  path: string
  refused?: string
}

function versionOf(manifest: string): string {
  return String((JSON.parse(readFileSync(manifest, 'utf8')) as { version?: unknown }).version)
}

/** Where the CUDA engine is: the environment's word, a build in this folder, the optional package of this very version. Undefined where there is none. */
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

/** Lets a child process load the library and ask it for its devices. What went wrong there, or undefined. */
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

/** Finds, tries and names the CUDA engine, once per process. After it, the engine knows its GPUs. */
export function prepareCuda(): Promise<void> {
  return (prepared ??= prepare())
}

/** The same where `device` is one of them. */
export async function prepareDevice(device: string): Promise<void> {
  if (/^cuda(:|$)/.test(device)) await prepareCuda()
}
