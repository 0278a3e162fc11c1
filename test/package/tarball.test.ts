/**
 * The package as strangers get it: packed, installed into an empty project, the README's example run in both module systems; and without a
 * prebuilt binary, what it says and what `npx latent build` does.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { RawImage } from '../../lib/index'
import { judge } from '../../scripts/judge/judge.cjs'

const root = path.resolve(__dirname, '..', '..')
const name = 'node-latent-diffusion'
const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-package-'))
const project = path.join(folder, 'project')
const installed = path.join(project, 'node_modules', name)
const minutes = 60_000
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

interface Outcome {
  status: number | null
  /** Standard output, then standard error. */
  text: string
  stdout: string
}

/** Runs a program without this process's npm settings, as a stranger's shell would. */
function run(cwd: string, command: string, ...args: string[]): Outcome {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^npm_(?!config_(registry|cache|userconfig|globalconfig))/i.test(key)),
  )
  const result = spawnSync(command, args, { cwd, env, encoding: 'utf8', shell: process.platform === 'win32', maxBuffer: 1 << 26 })
  return { status: result.status, text: `${result.stdout}${result.stderr}${result.error?.message ?? ''}`, stdout: result.stdout }
}

/** Standard output of a program that must succeed. */
function succeed(cwd: string, command: string, ...args: string[]): string {
  const { status, text, stdout } = run(cwd, command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${text}`)
  return stdout
}

/** What is packed, beside the build's products: a copy, so that staging the sources does not disturb a build of this folder. */
function packageFolder(): string {
  const copy = path.join(folder, 'package')
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { files: string[] }
  for (const entry of ['package.json', 'README.md', 'LICENSE', 'scripts', ...manifest.files]) {
    if (entry === 'prebuilds' || entry === 'deps') continue
    cpSync(path.join(root, entry), path.join(copy, entry), { recursive: true })
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'), 'junction')
  succeed(copy, process.execPath, 'scripts/stage-deps.mjs')
  const prebuilt = path.join(copy, 'prebuilds', `${process.platform}-${process.arch}`)
  mkdirSync(prebuilt, { recursive: true })
  cpSync(path.join(root, 'build', 'Release', 'latent.node'), path.join(prebuilt, 'latent.node'))
  return copy
}

/** The first example of a language in the README. */
function readmeExample(marker: string): string {
  const code = [...readFileSync(path.join(root, 'README.md'), 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, text]) => text!)
  const found = code.find((text) => text.includes(marker))
  if (found === undefined) throw new Error(`README.md has no example with ${marker}`)
  return found
}

interface Packed {
  filename: string
  size: number
  files: { path: string; size: number }[]
}

let packed: Packed

beforeAll(() => {
  const copy = packageFolder()
  const report = succeed(copy, npm, 'pack', '--ignore-scripts', '--json', '--silent', '--pack-destination', folder)
  packed = (JSON.parse(report.slice(report.indexOf('['))) as Packed[])[0]!
  mkdirSync(project)
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true }))
  // Scripts are not forbidden here: there must be none.
  succeed(project, npm, 'install', '--prefer-offline', '--foreground-scripts', path.join(folder, packed.filename))
}, 30 * minutes)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

/** All that may be in the tarball. */
const allowed = [
  /^(package\.json|README\.md|LICENSE|NOTICE|CHANGELOG\.md|CMakeLists\.txt|CMakePresets\.json|binding\.gyp|scripts\/build-native\.mjs)$/,
  /^dist\/.+\.m?js(\.map)?$/,
  /^types\/.+\.d\.m?ts$/,
  /^assets\/[\w-]+\.(txt|json)\.br$/,
  /^models\/(README\.md|tiny-scenes\.gguf)$/,
  /^prebuilds\/[\w+-]+\/latent\.node$/,
  /^native\/(CMakeLists\.txt|cmake\/[\w-]+\.(cmake|map)|\w+\/([\w-]+\/)*[\w-]+\.(cpp|h|txt))$/,
  /^docs\/([\w-]+\.(md|svg|json)|images\/[\w-]+\.(png|svg))$/,
  /^deps\/ggml\/(CMakeLists\.txt|LICENSE|cmake\/.+|include\/[\w-]+\.h|src\/[\w-]+\.(c|cpp|h|txt)|src\/ggml-cpu\/.+)$/,
  /^deps\/nlohmann\/json\.hpp$/,
  /^deps\/node-addon-api\/(napi[\w.-]*\.h|LICENSE\.md)$/,
  /^deps\/node-api-headers\/(include\/\w+\.h|def\/\w+\.def|LICENSE)$/,
]

test('the tarball holds what runs and what compiles, and nothing else', () => {
  const files = packed.files.map((file) => file.path)
  for (const needed of [
    'dist/index.js',
    'dist/esm.mjs',
    'dist/cli/main.js',
    'types/index.d.ts',
    'types/esm.d.mts',
    'CMakeLists.txt',
    'binding.gyp',
    'scripts/build-native.mjs',
    'models/tiny-scenes.gguf',
    'models/README.md',
    'deps/ggml/CMakeLists.txt',
    'deps/ggml/LICENSE',
    'deps/nlohmann/json.hpp',
    'deps/node-addon-api/napi.h',
    'deps/node-addon-api/LICENSE.md',
    'deps/node-api-headers/include/node_api.h',
    'deps/node-api-headers/LICENSE',
    `prebuilds/${process.platform}-${process.arch}/latent.node`,
    'README.md',
    'LICENSE',
  ]) {
    expect(files).toContain(needed)
  }
  expect(files.filter((file) => !allowed.some((pattern) => pattern.test(file)))).toEqual([])
  // The trained model hardly shrinks when packed: its bound and that of all the rest.
  const { size: model } = packed.files.find((file) => file.path === 'models/tiny-scenes.gguf')!
  expect(model).toBeLessThan(10e6)
  expect(packed.size - model).toBeLessThan(5e6)
})

test('installing runs no script of anybody', () => {
  const lock = JSON.parse(readFileSync(path.join(project, 'node_modules', '.package-lock.json'), 'utf8')) as {
    packages: Record<string, { hasInstallScript?: boolean }>
  }
  expect(Object.keys(lock.packages)).toContain(`node_modules/${name}`)
  expect(Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript)).toEqual([])
  expect(existsSync(path.join(installed, 'build'))).toBe(false)
})

test(
  "the README's example runs as an ES module and as CommonJS, and draws the same picture",
  async () => {
    const pictures = (
      [
        ['example.mjs', 'import {'],
        ['example.cjs', 'require('],
      ] as const
    ).map(([file, marker]) => {
      writeFileSync(path.join(project, file), readmeExample(marker))
      rmSync(path.join(project, 'out.png'), { force: true })
      succeed(project, process.execPath, file)
      return readFileSync(path.join(project, 'out.png'))
    })
    expect(pictures[0]!.subarray(1, 4).toString('latin1')).toBe('PNG')
    const asked = { objects: [{ color: 'red', shape: 'circle' }] }
    expect(judge(await RawImage.read(pictures[0]!), asked).objects).toBe(true)
    expect(pictures[1]!.equals(pictures[0]!)).toBe(true)
  },
  30 * minutes,
)

test('both module systems see one copy of every class', () => {
  writeFileSync(
    path.join(project, 'same.mjs'),
    `import * as esm from '${name}'
import { createRequire } from 'node:module'
const cjs = createRequire(import.meta.url)('${name}')
const names = Object.keys(cjs)
console.log(JSON.stringify({ names, differing: names.filter((name) => esm[name] !== cjs[name]) }))`,
  )
  const { names, differing } = JSON.parse(succeed(project, process.execPath, 'same.mjs')) as { names: string[]; differing: string[] }
  expect(names).toEqual(expect.arrayContaining(['DiffusionPipeline', 'inspect', 'convert', 'RawImage', 'Latents']))
  expect(differing).toEqual([])
})

test('TypeScript finds the declarations from both module systems', () => {
  const body = `const load: Promise<DiffusionPipeline> = DiffusionPipeline.load('model.safetensors')
// @ts-expect-error: a device that does not exist
void DiffusionPipeline.load('model.safetensors', { device: 'abacus' })
void load
`
  writeFileSync(path.join(project, 'types.mts'), `import { DiffusionPipeline } from '${name}'\n${body}`)
  writeFileSync(path.join(project, 'types.cts'), `import { DiffusionPipeline } from '${name}'\n${body}`)
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const roots = path.join(root, 'node_modules', '@types')
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'node20',
    '--target',
    'es2022',
    '--lib',
    'es2023,esnext.disposable',
    '--types',
    'node',
    '--typeRoots',
    roots,
  ]
  expect(run(project, process.execPath, tsc, ...options, 'types.mts', 'types.cts')).toMatchObject({ status: 0, stdout: '' })
})

test('the command is on the path of the project', () => {
  expect(succeed(project, npm, 'exec', '--offline', '--', 'latent', '--version').trim()).toBe(
    (JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }).version,
  )
})

describe('without a prebuilt binary', () => {
  beforeAll(() => {
    rmSync(path.join(installed, 'prebuilds'), { recursive: true })
    writeFileSync(path.join(project, 'example.mjs'), readmeExample('import {'))
    rmSync(path.join(project, 'out.png'), { force: true })
  })

  test('the error says how to build one', () => {
    const { status, text } = run(project, process.execPath, 'example.mjs')
    expect(status).toBe(1)
    expect(text).toContain('BinaryNotFoundError')
    expect(text).toContain('npx latent build')
  })

  // Compiles ggml and all of the engine: minutes. Continuous integration turns it on.
  const compile = process.env.LATENT_TEST_BUILD_FROM_TARBALL ? test : test.skip
  compile(
    'npx latent build compiles one from the package',
    () => {
      const text = succeed(project, npm, 'exec', '--offline', '--', 'latent', 'build')
      expect(text).toContain(path.join('build', 'Release', 'latent.node'))
      succeed(project, process.execPath, 'example.mjs')
      expect(existsSync(path.join(project, 'out.png'))).toBe(true)
    },
    60 * minutes,
  )
})
