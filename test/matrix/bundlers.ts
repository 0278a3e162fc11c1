/** Bundlers with the package external, tracers of files, asar archives. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { platformName } from '../../lib/native/platform-package'
import { expectPicture, fail, folder, installed, name, node, project, scope, succeed, tool, versionOf } from './context'
import { expectElectronExample } from '../helpers/electron-example'
import { npm, root } from '../helpers/packages'

/** Writes a program of the tools' own and runs it in the project. */
function runScript(file: string, text: string): string {
  const place = path.join(installed(), file)
  writeFileSync(place, text)
  return succeed({}, installed(), node('24'), place)
}
const importOf = (...names: string[]) => JSON.stringify(pathToFileURL(tool(...names)).href)

export function bundlers(): void {
  test.each(['cjs', 'esm'])(`esbuild ${versionOf('esbuild')}, external (%s)`, (format) => {
    const [from, to] = format === 'cjs' ? ['draw.cjs', 'esbuild.cjs'] : ['draw.mjs', 'esbuild.mjs']
    succeed(
      {},
      installed(),
      tool('.bin', 'esbuild'),
      from,
      '--bundle',
      '--platform=node',
      `--format=${format}`,
      `--external:${name}`,
      `--outfile=out/${to}`,
    )
    expectPicture(succeed({}, installed(), node('20'), `out/${to}`))
  })

  test(`webpack ${versionOf('webpack')}, external`, () => {
    runScript(
      'webpack.mjs',
      `import webpack from ${importOf('webpack', 'lib', 'index.js')}
webpack({ mode: 'production', target: 'node', context: process.cwd(), entry: './draw.cjs', externals: { '${name}': 'commonjs ${name}' },
  output: { path: process.cwd() + '/out', filename: 'webpack.cjs' } }, (error, stats) => {
  if (error || stats.hasErrors()) { console.error(error ?? stats.toString()); process.exit(1) }
})\n`,
    )
    expectPicture(succeed({}, installed(), node('20'), 'out/webpack.cjs'))
  })

  test(`Rollup ${versionOf('rollup')}, external`, () => {
    runScript(
      'rollup.mjs',
      `import { rollup } from ${importOf('rollup', 'dist', 'es', 'rollup.js')}
import commonjs from ${importOf('@rollup', 'plugin-commonjs', 'dist', 'es', 'index.js')}
import resolve from ${importOf('@rollup', 'plugin-node-resolve', 'dist', 'es', 'index.js')}
const bundle = await rollup({ input: 'draw.mjs', external: ['${name}', /^node:/], plugins: [resolve(), commonjs()] })
await bundle.write({ file: 'out/rollup.mjs' })\n`,
    )
    expectPicture(succeed({}, installed(), node('20'), 'out/rollup.mjs'))
  })

  test(`Vite ${versionOf('vite')}, server-side build without settings`, () => {
    runScript(
      'vite.mjs',
      `import { build } from ${importOf('vite', 'dist', 'node', 'index.js')}
await build({ configFile: false, logLevel: 'warn', build: { ssr: 'draw.mjs', outDir: 'out/vite', target: 'node20' } })\n`,
    )
    expectPicture(succeed({}, installed(), node('20'), 'out/vite/draw.mjs'))
  })

  test(`@vercel/nft ${versionOf('@vercel/nft')}: the traced files run elsewhere`, () => {
    // As Next.js standalone, Vercel and Nitro do: the files that a program needs are copied, and nothing else.
    const traced = JSON.parse(
      runScript(
        'trace.mjs',
        `import { nodeFileTrace } from ${importOf('@vercel', 'nft', 'out', 'index.js')}
const { fileList } = await nodeFileTrace(['draw.cjs'], { base: process.cwd() })
console.log(JSON.stringify([...fileList]))\n`,
      ),
    ) as string[]
    const elsewhere = path.join(folder, 'projects', 'traced')
    for (const file of traced) {
      mkdirSync(path.dirname(path.join(elsewhere, file)), { recursive: true })
      cpSync(path.join(installed(), file), path.join(elsewhere, file))
    }
    expect(traced).toContain(`node_modules/${scope}/${platformName()}/latent.node`)
    expect(traced).toContain(`node_modules/${scope}/tiny-scenes/tiny-scenes.gguf`)
    expectPicture(succeed({}, elsewhere, node('20'), 'draw.cjs'))
  })
}

/** Packs the installed project as an application and reads it as Electron does. */
function runFromArchive(title: string, unpack: string | undefined): { command: string[]; place: string } {
  const place = path.join(folder, 'projects', `asar-${title}`)
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  const app = project(`app-${title}`)
  succeed({}, app, npm, 'install', name)
  const rule = unpack === undefined ? [] : unpack.endsWith('.node') ? ['--unpack', unpack] : ['--unpack-dir', unpack]
  succeed({}, place, tool('.bin', 'asar'), 'pack', app, 'app.asar', ...rule)
  rmSync(app, { recursive: true })
  const start = path.join(place, 'start.cjs')
  writeFileSync(
    start,
    `require(${JSON.stringify(tool('asar-node'))}).register()\nrequire(${JSON.stringify(path.join(place, 'app.asar', 'draw.cjs'))})\n`,
  )
  return { command: [node('20'), start], place }
}

export function archives(): void {
  const title = `asar ${versionOf('@electron/asar')}, read by asar-node ${versionOf('asar-node')}`

  test(`${title}: the scoped packages unpacked`, () => {
    const { command, place } = runFromArchive('scope', `**/node_modules/${scope}`)
    expectPicture(succeed({}, place, command[0]!, ...command.slice(1)))
  })

  test(`${title}: only *.node unpacked; the error message names the rule`, () => {
    const { command, place } = runFromArchive('node', '*.node')
    expect(fail({}, place, command[0]!, ...command.slice(1))).toContain(`unpack "**/node_modules/${scope}/**"`)
  })

  test(`examples/electron, bundled by esbuild ${versionOf('esbuild')} and packed by ${title}: its page draws`, () => {
    const app = project('electron-app')
    const place = path.join(folder, 'projects', 'electron-packed')
    const manifest = readFileSync(path.join(root, 'examples', 'electron', 'package.json'), 'utf8')
    const { scripts, build } = JSON.parse(manifest) as { scripts: Record<string, string>; build: { asarUnpack: string[] } }
    cpSync(path.join(root, 'examples', 'electron'), app, { recursive: true, filter: (file) => path.basename(file) !== 'package.json' })
    succeed({}, app, npm, 'install', name)
    for (const script of [scripts['build:preload']!, scripts['build:page']!]) {
      const [command, ...args] = script.split(' ')
      succeed({}, app, tool('.bin', command!), ...args)
    }
    mkdirSync(place, { recursive: true })
    succeed({}, place, tool('.bin', 'asar'), 'pack', app, 'app.asar', '--unpack', `{${build.asarUnpack.join(',')},}`)
    rmSync(app, { recursive: true })
    const said = succeed({}, place, node('20'), path.join(__dirname, 'electron-app.cjs'), tool('asar-node'), path.join(place, 'app.asar'))
    expectElectronExample(said)
  })
}
