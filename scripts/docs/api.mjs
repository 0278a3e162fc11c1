/** The API reference, written by TypeDoc from the declarations in types/ and those of server and worker. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Application } from 'typedoc'
import { root } from '../build-native.mjs'

/** Entry points: their declarations in the staged folder, and the name of their page. */
const entries = {
  'index.d.ts': 'node-latent-diffusion',
  'electron/main.d.ts': 'node-latent-diffusion/electron/main',
  'electron/preload.d.ts': 'node-latent-diffusion/electron/preload',
  'electron/page/renderer.d.mts': 'node-latent-diffusion/electron/renderer',
  'server/index.d.ts': '@node-latent-diffusion/server',
  'worker/index.d.ts': '@node-latent-diffusion/worker',
}

/** Replaces text that must be there. */
function replaced(text, from, to) {
  if (!text.match(from)) throw new Error(`types/index.d.ts has no ${from}`)
  return text.replace(from, to)
}

/**
 * The library's declarations as readers should see them: the class behind the type `DiffusionPipeline` and the constant of that name under this name, and all types
 * that signatures mention.
 */
function readable(text) {
  text = replaced(text, /export declare type DiffusionPipeline<[^>]*> = \{[^}]*\}\[K\];/, '')
  text = replaced(text, 'export declare const DiffusionPipeline: typeof PipelineOf;', '')
  text = replaced(text, 'declare class PipelineOf<K extends ModelKind>', 'export declare class DiffusionPipeline<K extends ModelKind = ModelKind>')
  return text.replace(/\bPipelineOf\b/g, 'DiffusionPipeline').replace(/^declare (?!global)/gm, 'export declare ')
}

function stageDeclarations(folder) {
  rmSync(folder, { recursive: true, force: true })
  cpSync(path.join(root, 'types'), folder, { recursive: true })
  for (const name of ['server', 'worker'])
    cpSync(path.join(root, 'packages', name, 'dist'), path.join(folder, name), { recursive: true, filter: (file) => !/\.js$/.test(file) })
  for (const [file, name] of Object.entries(entries)) {
    const place = path.join(folder, file)
    const text = readFileSync(place, 'utf8').replace(/^\/\*\*[\s\S]*?@packageDocumentation[\s\S]*?\*\//, '')
    writeFileSync(place, `/** @module ${name} */\n${file === 'index.d.ts' ? readable(text) : text}`)
  }
  const compilerOptions = {
    types: ['node'],
    lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
    noEmit: true,
    paths: { 'node-latent-diffusion': ['./index.d.ts'] },
  }
  const tsconfig = path.join(folder, 'tsconfig.json')
  writeFileSync(tsconfig, JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions, files: Object.keys(entries) }))
  return tsconfig
}

/** The sidebar of the reference, next to its pages: the classes and functions of each module. The module's page lists its types, of which there are too many. */
function sidebar(folder) {
  const modules = Object.values(entries).map((name) => {
    const items = ['classes', 'functions'].flatMap((kind) => {
      const place = path.join(folder, ...name.split('/'), kind)
      const names = existsSync(place) ? readdirSync(place).map((file) => path.basename(file, '.md')) : []
      return names.map((item) => ({ text: item, link: `/api/${name}/${kind}/${item}` }))
    })
    return { text: name, link: `/api/${name}/`, collapsed: name !== 'node-latent-diffusion', items }
  })
  writeFileSync(path.join(folder, 'sidebar.json'), JSON.stringify(modules))
}

/** Writes the pages to `out`. Throws if a comment links to something that is not documented. */
export async function writeReference(staged, out) {
  const tsconfig = stageDeclarations(staged)
  mkdirSync(out, { recursive: true })
  const app = await Application.bootstrapWithPlugins({
    entryPoints: Object.keys(entries).map((file) => path.join(staged, file)),
    tsconfig,
    plugin: ['typedoc-plugin-markdown'],
    name: 'API',
    out,
    readme: 'none',
    logLevel: 'Warn',
    treatWarningsAsErrors: true,
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    entryFileName: 'index',
    hideBreadcrumbs: true,
    hidePageHeader: true,
    useCodeBlocks: false,
    sanitizeComments: true,
    // TypeDoc does not find this target from a method that another module inherits.
    externalSymbolLinkMappings: {
      'node-latent-diffusion': { 'DiffusionPipeline.generate': '/api/node-latent-diffusion/classes/DiffusionPipeline#generate' },
    },
    parametersFormat: 'table',
    interfacePropertiesFormat: 'table',
    typeDeclarationFormat: 'table',
  })
  const project = await app.convert()
  if (!project) throw new Error('TypeDoc could not read the declarations; see the output above.')
  app.validate(project)
  await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error('TypeDoc has warnings; see the output above.')
  sidebar(out)
}
