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

/** What stands directly to the right of each layer; a layer may include everything further right too. */
const nextLayers = {
  bindings: ['pipeline'],
  pipeline: ['models', 'samplers', 'formats'],
  models: ['graph'],
  graph: ['kernels', 'core', 'cuda'],
  kernels: ['core'],
  samplers: ['core'],
  formats: ['core'],
  core: [],
  cuda: [],
}

function reach(layer, seen = new Set([layer])) {
  for (const next of nextLayers[layer]) if (!seen.has(next)) reach(next, seen.add(next))
  return seen
}

/** The CUDA engine is reached through its function table: all that other layers see of it. */
const cudaTable = 'cuda/cuda_api.h'
const ggmlHomes = /^native\/(graph|models|formats\/(gguf|convert|quantise))/

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
      if (header.includes('..')) problems.push(`${where}: name headers from native/ on`)
      else if (folder === 'cuda' && layer !== 'cuda' && header !== cudaTable) problems.push(`${where}: of cuda, include ${cudaTable} alone`)
      else if (/^(ggml|gguf)[\w-]*\.h$/.test(header)) {
        if (!ggmlHomes.test(file)) problems.push(`${where}: ggml is for graph, models and formats/{gguf,convert,quantise}`)
      } else if (/^(napi|node_api|js_native_api)/.test(header)) {
        if (layer !== 'bindings') problems.push(`${where}: Node-API is for bindings`)
        else if (header === 'napi.h' && file !== 'native/bindings/node_addon_api.h') problems.push(`${where}: take bindings/node_addon_api.h`)
      } else if (header.startsWith('nlohmann/')) {
        if (layer !== 'core') problems.push(`${where}: JSON comes through core/json.h`)
      } else if (header.includes('/') && nextLayers[folder]) {
        if (!allowed.has(folder)) problems.push(`${where}: ${layer} may include ${[...allowed].join(', ')}`)
      } else if (bracket === '"' && !header.includes('/')) problems.push(`${where}: name headers from native/ on`)
    }
  }
}

// ---- TypeScript ------------------------------------------------------------------------------------------------------

/** cli -> index -> everything between -> native/call -> native/{load,contract}. */
function rankOf(file) {
  const inside = file.replace(/^lib\//, '')
  if (inside.startsWith('cli/')) return 'cli'
  if (/^(index\.ts|esm\.mts)$/.test(inside)) return 'index'
  if (inside === 'native/call.ts') return 'call'
  if (inside === 'native/contract.ts') return 'contract'
  if (inside.startsWith('native/')) return 'load'
  return 'middle'
}

const importable = {
  cli: ['cli', 'index'],
  index: ['index', 'middle'],
  middle: ['middle', 'call', 'contract'],
  call: ['call', 'load', 'contract'],
  load: ['load', 'contract'],
  contract: ['contract'],
}
/** Of no layer: error classes, plain types, hints for mistyped names, lists of names, where the package lies. */
const leaves = /^lib\/(errors|types|suggest|solver-names|package-root)\.ts$/

function checkTypeScript() {
  for (const file of filesUnder('lib', /\.m?ts$/)) {
    const rank = rankOf(file)
    for (const [line, [, target]] of matches(file, /(?:from|import|import\(|require\()\s*'(\.{1,2}\/[^']+)'/)) {
      const resolved = path.posix
        .join(path.posix.dirname(file), target)
        .replace(/\.js$/, '.ts')
        .replace(/\.mjs$/, '.mts')
      const other = rankOf(resolved)
      if (importable[rank].includes(other) || (leaves.test(resolved) && ['cli', 'call', 'load'].includes(rank))) continue
      problems.push(`${file}:${line}: imports ${target}: ${rank} may import ${importable[rank].join(', ')}, not ${other}`)
    }
  }
}

checkNative()
checkTypeScript()
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
console.log('layers: as docs/architecture.md draws them')
