/**
 * The packages as strangers get them: packed, installed from a registry into an empty project, the README's example run in both module systems; and without the
 * packages of the binary and of the model, what is said. What `npx latent build` does is in latent-build.test.ts.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { RawImage } from '../../lib/index'
import { platformName } from '../../lib/native/platform-package'
import { judge } from '../../scripts/judge/judge.cjs'
import * as packages from '../helpers/packages'
import { libraryName as name, npm, root, run, succeed, type Manifest, type Packed, type Registry } from '../helpers/packages'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-package-'))
const tarballs = path.join(folder, 'tarballs')
const project = path.join(folder, 'project')
const scope = '@node-latent-diffusion'
const here = `${scope}/${platformName()}`
const inProject = (...names: string[]) => path.join(project, 'node_modules', ...names)
const minutes = 60_000

let packed: Packed[]
let foreign: string[]
let registry: Registry
const packageOf = (wanted: string) => packed.find((one) => one.name === wanted)!

beforeAll(async () => {
  packed = packages.packAll(folder, tarballs)
  packages.packDependencies(tarballs)
  foreign = packages.packForeign(folder, tarballs)
  registry = await packages.startRegistry(tarballs)
  packages.emptyProject(project, registry)
  // Scripts are not forbidden here: there must be none.
  succeed(project, npm, 'install', '--foreground-scripts', name)
}, 30 * minutes)

afterAll(() => {
  registry?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('contents of the packages', () => {
  const always = /^(package\.json|README\.md|LICENSE|NOTICE|CHANGELOG\.md)$/
  /** All that may be in each package, what must be, and the most that it may weigh unpacked. */
  const contents: Record<string, { allowed: RegExp[]; needed: string[]; most: number }> = {
    [name]: {
      allowed: [/^dist\/.+\.m?js$/, /^types\/.+\.d\.m?ts$/, /^assets\/[\w-]+\.(txt|json)\.br$/],
      needed: ['dist/index.js', 'dist/esm.mjs', 'dist/cli/main.js', 'types/index.d.ts', 'types/esm.d.mts', 'README.md', 'LICENSE', 'NOTICE'],
      most: 2e6,
    },
    [here]: { allowed: [/^latent\.node$/], needed: ['latent.node', 'LICENSE', 'NOTICE'], most: 12e6 },
    [`${scope}/tiny-scenes`]: {
      allowed: [/^tiny-scenes\.gguf$/, /^index\.(js|d\.ts)$/],
      needed: ['tiny-scenes.gguf', 'index.js', 'LICENSE'],
      most: 10e6,
    },
    [`${scope}/server`]: {
      allowed: [/^dist\/[\w-]+\.(js|d\.ts)$/, /^page-dist\/.+$/],
      needed: ['dist/index.js', 'dist/index.d.ts', 'dist/protocol.d.ts', 'page-dist/index.html', 'README.md', 'LICENSE'],
      most: 1e6,
    },
    [`${scope}/worker`]: {
      allowed: [/^dist\/[\w-]+\.(js|d\.ts)$/],
      needed: ['dist/index.js', 'dist/index.d.ts', 'README.md', 'LICENSE'],
      most: 2e5,
    },
    'create-node-latent-diffusion': {
      allowed: [/^index\.js$/, /^templates\/(script|express|next|electron)\/([\w-]+\/)*[\w.-]+$/],
      needed: [
        'index.js',
        ...['script/draw.js', 'express/server.js', 'next/app/api/images/route.js', 'next/next.config.mjs', 'electron/main.js'].map(
          (file) => `templates/${file}`,
        ),
        ...['script', 'express', 'next', 'electron'].flatMap((each) => [`templates/${each}/package.json`, `templates/${each}/README.md`]),
        'LICENSE',
      ],
      most: 100e3,
    },
    [`${scope}/source`]: {
      allowed: [
        /^(CMakeLists\.txt|CMakePresets\.json|scripts\/build-native\.mjs)$/,
        /^native\/(CMakeLists\.txt|cmake\/([\w-]+\/)*[\w-]+\.(cmake|map|cpp|hpp)|\w+\/([\w-]+\/)*[\w-]+\.(cpp|h|txt))$/,
        /^deps\/ggml\/(CMakeLists\.txt|LICENSE|cmake\/.+|include\/[\w-]+\.h|src\/[\w-]+\.(c|cpp|h|txt)|src\/ggml-(cpu|vulkan|metal|cuda)\/.+)$/,
        /^deps\/nlohmann\/json\.hpp$/,
        /^deps\/node-addon-api\/(napi[\w.-]*\.h|LICENSE\.md)$/,
        /^deps\/node-api-headers\/(include\/\w+\.h|def\/\w+\.def|LICENSE)$/,
      ],
      needed: [
        'CMakeLists.txt',
        'scripts/build-native.mjs',
        'deps/ggml/CMakeLists.txt',
        'deps/ggml/LICENSE',
        'deps/nlohmann/json.hpp',
        'deps/node-addon-api/napi.h',
        'deps/node-addon-api/LICENSE.md',
        'deps/node-api-headers/include/node_api.h',
        'deps/node-api-headers/LICENSE',
      ],
      most: 12e6,
    },
  }

  test('the expected packages are built', () => {
    expect(packed.map((one) => one.name).sort()).toEqual(Object.keys(contents).sort())
  })

  test.each(Object.entries(contents))('%s contains the expected files and nothing else', (which, { allowed, needed, most }) => {
    const files = packageOf(which).files.map((file) => file.path)
    expect(files).toEqual(expect.arrayContaining(needed))
    expect(files.filter((file) => ![always, ...allowed].some((pattern) => pattern.test(file)))).toEqual([])
    expect(packageOf(which).unpackedSize).toBeLessThan(most)
  })

  test('no package has install scripts or a binding.gyp, which package managers treat as one', () => {
    for (const each of packed) {
      const manifest = packages.readManifest(path.join(folder, 'packages', path.basename(each.name)))
      expect(manifest).not.toHaveProperty('scripts')
      expect(manifest).not.toHaveProperty('devDependencies')
      expect(manifest).not.toHaveProperty('overrides')
      expect(each.files.filter((file) => /(^|\/)(binding\.gyp|\.npmrc|\.gitignore)$/.test(file.path))).toEqual([])
    }
  })

  test('all have the same version, and the library depends on exactly that', () => {
    const library = packages.readManifest(path.join(folder, 'packages', name))
    const { version } = packages.readManifest(root)
    const optional = library.optionalDependencies!
    expect(Object.keys(optional).sort()).toEqual([here, `${scope}/tiny-scenes`, ...foreign].sort())
    expect(new Set([...Object.values(optional), library.peerDependencies![`${scope}/source`]])).toEqual(new Set([version]))
    for (const each of packed) expect(packages.readManifest(path.join(folder, 'packages', path.basename(each.name))).version).toBe(version)
  })

  test('server and worker depend on the tested versions and on the library of their own version', () => {
    const [server, worker] = ['server', 'worker'].map((each) => packages.readManifest(path.join(folder, 'packages', each))) as [Manifest, Manifest]
    const { version, devDependencies } = packages.readManifest(root)
    for (const { dependencies } of [server, worker])
      expect(dependencies).toEqual(Object.fromEntries(Object.keys(dependencies!).map((each) => [each, devDependencies![each]])))
    expect(server.peerDependencies).toEqual({ [name]: version, [`${scope}/worker`]: version })
    expect(worker.peerDependencies).toEqual({ [name]: version })
  })

  test('the loader spells out every package name, so that file tracers find it', () => {
    const loader = readFileSync(path.join(folder, 'packages', name, 'dist', 'native', 'platform-package.js'), 'utf8')
    for (const each of [here, ...foreign]) expect(loader.split(`require('${each}')`)).toHaveLength(2)
  })
})

describe('installed', () => {
  test('without running scripts, with only the packages of this platform', () => {
    const lock = JSON.parse(readFileSync(inProject('.package-lock.json'), 'utf8')) as { packages: Record<string, { hasInstallScript?: boolean }> }
    expect(Object.keys(lock.packages)).toContain(`node_modules/${name}`)
    expect(Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript)).toEqual([])
    expect(readdirSync(inProject(scope)).sort()).toEqual([platformName(), 'tiny-scenes'].sort())
  })

  test(
    "the README's example runs as an ES module and as CommonJS, and draws the same image",
    async () => {
      const pictures = (
        [
          ['example.mjs', 'import {'],
          ['example.cjs', 'require('],
        ] as const
      ).map(([file, marker]) => {
        writeFileSync(path.join(project, file), packages.readmeExample(marker))
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
    const compilerOptions = { noEmit: true, strict: true, module: 'node20', target: 'es2022', lib: ['es2022'], types: [], skipLibCheck: false }
    writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['types.mts', 'types.cts'] }))
    expect(run(project, process.execPath, tsc, '-p', '.')).toMatchObject({ status: 0, stdout: '' })
  })

  test(
    'npm create writes a project that installs and draws',
    () => {
      const parent = path.join(folder, 'created')
      packages.emptyProject(parent, registry)
      succeed(parent, npm, 'create', '--yes', name, 'a Red Circle', '--', '--template', 'script')
      const made = path.join(parent, 'a Red Circle')
      const { version } = packages.readManifest(root)
      expect(packages.readManifest(made)).toMatchObject({ name: 'a-red-circle', dependencies: { [name]: `^${version}` } })
      writeFileSync(path.join(made, '.npmrc'), readFileSync(path.join(parent, '.npmrc')))
      succeed(made, npm, 'install')
      expect(succeed(made, npm, 'start', '--', 'a red circle', 'circle.png')).toMatch(/^circle\.png, seed \d+$/m)
      expect(readFileSync(path.join(made, 'circle.png')).subarray(1, 4).toString('latin1')).toBe('PNG')
    },
    30 * minutes,
  )

  test('the command is on the PATH of the project', () => {
    expect(succeed(project, npm, 'exec', '--offline', '--', 'latent', '--version').trim()).toBe(packages.readManifest(root).version)
  })

  const permissions = Number(process.versions.node.split('.')[0]) >= 24 ? '--permission' : '--experimental-permission'
  test('if addons are forbidden, the error names the flag that allows them', () => {
    writeFileSync(path.join(project, 'versions.cjs'), `require('${name}').getVersions()`)
    const { status, text } = run(project, process.execPath, permissions, '--allow-fs-read=*', 'versions.cjs')
    expect(status).toBe(1)
    expect(text).toContain('start Node.js with --allow-addons')
    expect(text).not.toContain('latent build')
    succeed(project, process.execPath, permissions, '--allow-fs-read=*', '--allow-addons', 'versions.cjs')
  })
})

describe('without the optional packages', () => {
  const bare = path.join(folder, 'bare')

  beforeAll(() => {
    packages.emptyProject(bare, registry)
    succeed(bare, npm, 'install', '--omit=optional', name)
    writeFileSync(path.join(bare, 'example.mjs'), packages.readmeExample('import {'))
  })

  test('the error names the packages and the commands', () => {
    const { status, text } = run(bare, process.execPath, 'example.mjs')
    expect(status).toBe(1)
    const { version } = packages.readManifest(root)
    expect(text).toContain(`npm install ${scope}/tiny-scenes@${version}`)
    writeFileSync(path.join(bare, 'versions.cjs'), `require('${name}').getVersions()`)
    const second = run(bare, process.execPath, 'versions.cjs')
    expect(second.status).toBe(1)
    expect(second.text).toContain('BinaryNotFoundError')
    expect(second.text).toContain(`npm install --save-optional ${here}@${version}`)
    expect(second.text).toContain(`--os=${process.platform} --cpu=${process.arch}`)
    expect(second.text).toContain(`npm install ${scope}/source@${version} && npx latent build`)
  })

  test('latent build names the source package', () => {
    const { status, text } = run(bare, npm, 'exec', '--offline', '--', 'latent', 'build')
    expect(status).toBe(1)
    expect(text).toContain(`npm install ${scope}/source@`)
  })

  test('a binary of another version is rejected', () => {
    const place = path.join(bare, 'node_modules', here)
    mkdirSync(place, { recursive: true })
    const manifest: Manifest = { name: here, version: '0.0.1', main: './latent.js' }
    writeFileSync(path.join(place, 'package.json'), JSON.stringify(manifest))
    writeFileSync(path.join(place, 'latent.js'), `exports.versions = () => '{"version":"0.0.1"}'`)
    const { status, text } = run(bare, process.execPath, 'versions.cjs')
    rmSync(place, { recursive: true })
    expect(status).toBe(1)
    expect(text).toContain(`is version 0.0.1; this package is ${packages.readManifest(root).version}`)
  })
})
