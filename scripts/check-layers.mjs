#!/usr/bin/env node
/** Checks the layers of docs/architecture.md over the #include lines of native/ and the import lines of lib/. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const problems = []

function filesUnder(folder, pattern) {
  return readdirSync(path.join(root, folder), { recursive: true })
    .map((name) => `${folder}/${name.replaceAll(path.sep, '/')}`)
    .filter((name) => pattern.test(name))
    .sort()
}

/** [line number, match] of every match of `pattern`, line by line. */
function* matches(file, pattern) {
  const lines = readFileSync(path.join(root, file), 'utf8').split('\n')
  for (const [index, line] of lines.entries()) {
    const match = pattern.exec(line)
    if (match) yield [index + 1, match]
  }
}

// ---- C++ -------------------------------------------------------------------------------------------------------------

/** The layers directly to the right of each layer; a layer may include everything further right too. */
const nextLayers = {
  bindings: ['pipeline'],
  pipeline: ['models', 'samplers', 'formats'],
  models: ['graph', 'networks'],
  graph: ['kernels', 'core', 'cuda', 'backend'],
  kernels: ['core'],
  samplers: ['core'],
  formats: ['networks'],
  networks: ['core'],
  core: [],
  cuda: [],
  backend: [],
}

function reach(layer, seen = new Set([layer])) {
  for (const next of nextLayers[layer]) if (!seen.has(next)) reach(next, seen.add(next))
  return seen
}

/** The parts of separate libraries that other layers may include: their function tables. */
const tables = { cuda: ['cuda/cuda_api.h'], backend: ['backend/backend_api.h', 'backend/backend_abi.h'] }
const ggmlHomes = /^native\/(graph|models|backend|formats\/(containers\/gguf|convert\/))/

function checkNative() {
  for (const file of filesUnder('native', /\.(cpp|h)$/)) {
    const layer = file.split('/')[1]
    if (layer === 'cmake') continue
    if (!nextLayers[layer]) {
      problems.push(`${file}: native/${layer} is not a layer`)
      continue
    }
    const allowed = reach(layer)
    for (const [line, [, bracket, header]] of matches(file, /^\s*#\s*include\s*([<"])([^>"]+)/)) {
      const where = `${file}:${line}: includes ${header}`
      const [folder] = header.split('/')
      if (header.includes('..')) problems.push(`${where}: use header paths relative to native/`)
      else if (tables[folder] && layer !== folder && !tables[folder].includes(header))
        problems.push(`${where}: from ${folder}, include only ${tables[folder].join(', ')}`)
      else if (/^(ggml|gguf)[\w-]*\.h$/.test(header)) {
        if (!ggmlHomes.test(file)) problems.push(`${where}: ggml is for graph, models, backend, formats/containers/gguf* and formats/convert`)
      } else if (/^(napi|node_api|js_native_api)/.test(header)) {
        if (layer !== 'bindings') problems.push(`${where}: Node-API is for bindings`)
        else if (header === 'napi.h' && file !== 'native/bindings/node_addon_api.h') problems.push(`${where}: include bindings/node_addon_api.h`)
      } else if (header.startsWith('nlohmann/')) {
        if (layer !== 'core') problems.push(`${where}: use core/json.h for JSON`)
      } else if (header.includes('/') && nextLayers[folder]) {
        if (!allowed.has(folder)) problems.push(`${where}: ${layer} may include ${[...allowed].join(', ')}`)
      } else if (bracket === '"' && !header.includes('/')) problems.push(`${where}: use header paths relative to native/`)
    }
  }
}

// ---- TypeScript ------------------------------------------------------------------------------------------------------

/** What each folder of lib/ may import besides itself and the leaves. `native` is split into its contract (types), the guarded calls, and the loader. */
const importable = {
  cli: ['index', 'kinds', 'options'],
  index: ['host', 'api', 'kinds', 'hub', 'image', 'retrieval', 'infotext'],
  electron: ['index', 'host', 'rpc', 'image', 'options'],
  host: ['rpc', 'api', 'image', 'options'],
  rpc: ['image', 'hub', 'options'],
  api: ['kinds', 'labels', 'text', 'infotext', 'image', 'model', 'hub', 'options', 'call', 'contract'],
  kinds: ['labels', 'text', 'image', 'model', 'options', 'contract'],
  labels: ['model', 'options'],
  text: ['model', 'options', 'contract'],
  retrieval: ['image', 'model', 'hub', 'options'],
  infotext: ['kinds', 'options'],
  image: ['options', 'contract'],
  model: ['hub', 'options', 'call', 'contract'],
  hub: ['options'],
  options: ['contract'],
  call: ['load', 'contract'],
  load: ['contract'],
  contract: [],
}

function rankOf(file) {
  const inside = file.replace(/^lib\//, '')
  if (/^(index\.ts|esm\.mts)$/.test(inside)) return 'index'
  if (/^native\/(call|job)\.ts$/.test(inside)) return 'call'
  if (inside === 'native/contract.ts') return 'contract'
  if (inside.startsWith('native/')) return 'load'
  return inside.split('/')[0]
}

/** Available to all: error classes, plain types, opening of files, hints for mistyped names, lists of names, the package's root. */
const leaves =
  /^lib\/(errors|types|names|api\/call-types|files\/[\w-]+|kinds\/(inputs|kinds|generate-types)|options\/suggest|infotext\/(words|read)|native\/package-root|electron\/electron)\.ts$/

function checkTypeScript() {
  for (const file of filesUnder('lib', /\.m?ts$/)) {
    if (leaves.test(file)) continue
    const rank = rankOf(file)
    if (!importable[rank]) {
      problems.push(`${file}: lib/${rank} is not a layer`)
      continue
    }
    for (const [line, [, target]] of matches(file, /(?:from|import|import\(|require\()\s*'(\.{1,2}\/[^']+)'/)) {
      const resolved = path.posix
        .join(path.posix.dirname(file), target)
        .replace(/\.js$/, '.ts')
        .replace(/\.mjs$/, '.mts')
      const other = rankOf(resolved)
      if (rank === other || importable[rank].includes(other) || leaves.test(resolved)) continue
      problems.push(`${file}:${line}: imports ${target}: ${rank} may import ${importable[rank].join(', ')}, not ${other}`)
    }
  }
}

/** Packages of this repository use the library only by its public name. */
function checkPackages() {
  for (const file of ['server', 'worker'].flatMap((name) => filesUnder(`packages/${name}/src`, /\.ts$/))) {
    const home = file.slice(0, file.indexOf('/src/') + 5)
    for (const [line, [, target]] of matches(file, /(?:from|import|import\(|require\(|resolve\()\s*'([^']+)'/)) {
      const inside = path.posix.join(path.posix.dirname(file), target).startsWith(home)
      const fromWorker = home.includes('/worker/') && target.startsWith('@node-latent-diffusion/')
      if (target.startsWith('.') ? !inside : /^node-latent-diffusion\/(?!package\.json$)/.test(target))
        problems.push(`${file}:${line}: imports ${target}: a package may import its own files and 'node-latent-diffusion'`)
      if (fromWorker) problems.push(`${file}:${line}: imports ${target}: the server uses the worker's package, not the other way round`)
    }
  }
  for (const [line, [, target]] of matches('packages/create/index.js', /(?:from|import\()\s*'([^']+)'/)) {
    if (!target.startsWith('node:')) problems.push(`packages/create/index.js:${line}: imports ${target}: it may import only Node.js's own modules`)
  }
}

/** The server's page is browser code: it may import its own files, its libraries, the types of the server's API, and the parts of the library without engine
 * and Node. */
function checkPage() {
  const home = 'packages/server/page/src/'
  for (const file of filesUnder(home.slice(0, -1), /\.tsx?$/)) {
    for (const [line, [, target]] of matches(file, /(?:from|import|import\()\s*'([^']+)'/)) {
      const resolved = path.posix.join(path.posix.dirname(file), target).replace(/\.js$/, '.ts')
      const isOpen = resolved.startsWith(home) || resolved === 'packages/server/src/protocol.ts' || /^lib\/infotext\/(read|words)\.ts$/.test(resolved)
      if (target.startsWith('.') ? !isOpen : !/^(preact|preact\/hooks|@preact\/signals)$/.test(target))
        problems.push(
          `${file}:${line}: imports ${target}: the page may import its own files, Preact, the server's protocol, and infotext/read and words of lib/`,
        )
    }
  }
}

checkNative()
checkTypeScript()
checkPackages()
checkPage()
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
console.log('layers: as in docs/architecture.md')
