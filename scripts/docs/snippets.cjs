/**
 * The code blocks of the documentation. A block in JavaScript or TypeScript with an import (or require()) is a program: a test runs it. The others are fragments, which
 * are compiled only. `<!-- not run: REASON -->` on the line before the fence keeps a program from being run.
 */
const { execFileSync } = require('node:child_process')
const { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const ts = require('typescript')

const root = path.join(__dirname, '..', '..')

/** Pages with code: README.md, docs/ and the READMEs of packages and examples, relative to the repository's root. */
function pages() {
  const docs = readdirSync(path.join(root, 'docs'), { recursive: true })
    .map((name) => `docs/${name.replaceAll(path.sep, '/')}`)
    .filter((name) => name.endsWith('.md'))
  return ['README.md', 'packages/server/README.md', 'packages/worker/README.md', ...docs.sort()]
}

/** [{ page, line, language, code, isProgram, notRun }]: the blocks of a page in these languages; `line` is that of the first line of code. */
function snippetsOf(page, languages = ['js', 'ts', 'mjs', 'cjs']) {
  const lines = readFileSync(path.join(root, page), 'utf8').split('\n')
  const snippets = []
  for (let at = 0; at < lines.length; at++) {
    const fence = /^(`{3,}|~{3,})(\w*)/.exec(lines[at])
    if (!fence) continue
    const end = lines.findIndex((line, i) => i > at && line.startsWith(fence[1]))
    if (end < 0) throw new Error(`${page}:${at + 1}: this block has no end`)
    const code = lines.slice(at + 1, end).join('\n')
    const notRun = /^<!-- not run: (.+) -->$/.exec(lines[at - 1] ?? '')?.[1]
    const isProgram = /^import\s|\brequire\('/m.test(code)
    if (languages.includes(fence[2])) snippets.push({ page, line: at + 2, language: fence[2], code, isProgram, notRun })
    at = end
  }
  return snippets
}

/** An empty project with the library, the models of the repository, and the files that programs of the documentation read. */
function prepareProject(folder) {
  mkdirSync(path.join(folder, 'node_modules', '@node-latent-diffusion'), { recursive: true })
  const link = (target, ...to) => symlinkSync(path.join(root, target), path.join(folder, ...to), 'junction')
  link('.', 'node_modules', 'node-latent-diffusion')
  link('packages/server', 'node_modules', '@node-latent-diffusion', 'server')
  for (const name of ['express', 'openai']) link(`node_modules/${name}`, 'node_modules', name)
  link('models', 'models')
  symlinkSync(path.join(root, 'models', 'tiny-scenes.gguf'), path.join(folder, 'model.gguf'))
  return folder
}

/** Runs a program in a project, in the syntax of this Node.js (`await using` is newer). Returns its output; throws if it fails. */
function runProgram({ page, line, code }, folder) {
  const module = /\brequire\('/.test(code) ? 'cjs' : 'mjs'
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: module === 'cjs' ? ts.ModuleKind.CommonJS : ts.ModuleKind.ESNext }
  const { outputText } = ts.transpileModule(code, { fileName: 'program.ts', compilerOptions })
  const file = path.join(folder, `program.${module}`)
  writeFileSync(file, outputText)
  try {
    return execFileSync(process.execPath, [file], { cwd: folder, encoding: 'utf8', stdio: 'pipe', timeout: 120_000 })
  } catch (error) {
    throw new Error(`${page}:${line}: the program failed:\n${error.stdout}${error.stderr}`, { cause: error })
  }
}

module.exports = { pages, prepareProject, runProgram, snippetsOf }
