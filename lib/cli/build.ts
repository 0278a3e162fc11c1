/** `latent build`: compiles the native binary from the sources of a clone or of the source package. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { packageVersion, scope } from '../native/package-root.js'
import { readFlags, UsageError, type Command, type Flags, type Io } from './command.js'

const gpuKinds = ['vulkan', 'metal', 'cuda', 'ggml-cuda'] as const

const flags = {
  gpu: { kind: 'text', value: 'KIND', help: 'also build the library for vulkan, metal, cuda or ggml-cuda (docs/gpu.md)' },
  jobs: { kind: 'number', short: 'j', help: 'parallel compiler jobs (default: one per processor)' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

function runScript(file: string, args: string[], { stdout, stderr, signal }: Io): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal })
    child.stdout.pipe(stdout, { end: false })
    child.stderr.pipe(stderr, { end: false })
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error('the native binary could not be built; see the compiler output above'))
    })
  })
}

const script = path.join('scripts', 'build-native.mjs')

/** The folder with the sources: a clone, or the installed source package, which must have the same version. */
function sourceFolder(root: string): string {
  if (existsSync(path.join(root, script)) && existsSync(path.join(root, 'CMakeLists.txt'))) return root
  const name = `${scope}/source`
  const wanted = `${name}@${packageVersion()}`
  let manifest: string | undefined
  for (const from of [__filename, path.join(process.cwd(), 'package.json')]) {
    try {
      manifest ??= createRequire(from).resolve(`${name}/package.json`)
    } catch {
      // Missing: try the next place.
    }
  }
  if (manifest === undefined) throw new Error(`the sources are in a separate package: run npm install ${wanted}, then latent build again`)
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  if (version !== packageVersion()) throw new Error(`${name} is version ${version}: npm install ${wanted}, then run latent build again`)
  return path.dirname(manifest)
}

export const buildCommand: Command = {
  name: 'build',
  summary: 'compile the native binary from source (needs CMake 3.21 and a C++17 compiler)',
  usage: '[--gpu vulkan] [--jobs N]',
  flags,
  notes:
    'Uses the sources in a clone, or the package @node-latent-diffusion/source of the same version. Nothing is downloaded.\n' +
    'CMake selects the compiler; CC and CXX name another one.\n' +
    'Only needed if no prebuilt binary fits this machine, or to use another ggml: LDM_GGML_DIR=/path/to/ggml latent build.',
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    if (values.jobs !== undefined && !(Number.isInteger(values.jobs) && values.jobs > 0)) {
      throw new UsageError(`--jobs takes a positive whole number, not ${values.jobs}`)
    }
    const kind = gpuKinds.find((each) => each === values.gpu)
    if (values.gpu !== undefined && kind === undefined) throw new UsageError(`--gpu takes ${gpuKinds.join(', ')}, not ${values.gpu}`)
    const root = path.resolve(__dirname, '..', '..')
    const release = path.join(root, 'build', 'Release')
    const sources = sourceFolder(root)
    const jobs = values.jobs === undefined ? [] : ['--jobs', String(values.jobs)]
    const gpu = kind === undefined ? [] : [`-DLATENT_${kind.toUpperCase().replace('-', '_')}=ON`]
    await runScript(path.join(sources, script), [...jobs, '--', `-DLATENT_ADDON_DIR=${release.replaceAll(path.sep, '/')}`, ...gpu], io)
    io.stdout.write(`built ${path.join(release, 'latent.node')}\n`)
  },
}
