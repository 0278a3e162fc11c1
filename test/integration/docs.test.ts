/** The code in the documentation: programs run, everything compiles against the published declarations, and every flag of `latent` in a shell block exists. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import ts from 'typescript'
import * as library from '../../lib/index'
import { pages, prepareProject, runProgram, snippetsOf, type Snippet } from '../../scripts/docs/snippets.cjs'
import { cli } from '../helpers/cli'

const root = path.resolve(__dirname, '..', '..')
const snippets = pages().flatMap((page) => snippetsOf(page))
const title = ({ page, line }: Snippet) => `${page}:${line}`

/** Names that fragments use without declaring them, as earlier code on the same page would. */
const prelude = `
import type * as latent from 'node-latent-diffusion'
declare global {
  ${Object.keys(library)
    .map((name) => `const ${name}: typeof latent.${name}`)
    .join('\n  ')}
  const pipe: latent.DiffusionPipeline
  const host: latent.DiffusionHost
  const database: latent.RetrievalDatabase
  const diffusion: import('node-latent-diffusion/electron/renderer').Diffusion
  const controller: AbortController
  const signal: AbortSignal
  namespace NodeJS { interface Process { resourcesPath: string } }
  const electron: any, path: any, bar: any, context: any, picture: any, show: any
}
`

describe('declarations', () => {
  /** Messages of the compiler by the snippet they are about. */
  const messages = new Map<string, string[]>()

  beforeAll(() => {
    const texts = new Map([[path.join(root, 'docs', 'prelude.mts'), prelude]])
    for (const { page, line, code } of snippets) {
      const isModule = /^(import|export)\s/m.test(code)
      texts.set(path.join(root, `${page.replaceAll('/', '-')}-${line}.mts`), isModule ? code : `export {}; async () => {${code}\n}`)
    }
    const options: ts.CompilerOptions = {
      noEmit: true,
      strict: true,
      noImplicitAny: false,
      useUnknownInCatchVariables: false,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.Node20,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'],
      types: ['node'],
      skipLibCheck: true,
      paths: {
        'node-latent-diffusion': [path.join(root, 'types', 'index.d.ts')],
        'node-latent-diffusion/electron/main': [path.join(root, 'types', 'electron', 'main.d.ts')],
        'node-latent-diffusion/electron/preload': [path.join(root, 'types', 'electron', 'preload.d.ts')],
        'node-latent-diffusion/electron/renderer': [path.join(root, 'types', 'electron', 'page', 'renderer.d.mts')],
        '@node-latent-diffusion/worker': [path.join(root, 'packages', 'worker', 'dist', 'index.d.ts')],
        '@node-latent-diffusion/server': [path.join(root, 'packages', 'server', 'dist', 'index.d.ts')],
      },
    }
    const host = ts.createCompilerHost(options)
    const disk = { ...host }
    host.fileExists = (file) => texts.has(path.normalize(file)) || disk.fileExists(file)
    host.readFile = (file) => texts.get(path.normalize(file)) ?? disk.readFile(file)
    host.getSourceFile = (file, ...rest) => {
      const text = texts.get(path.normalize(file))
      return text === undefined ? disk.getSourceFile(file, ...rest) : ts.createSourceFile(file, text, rest[0])
    }
    const program = ts.createProgram([...texts.keys()], options, host)
    for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
      const name = path.basename(file?.fileName ?? 'prelude.mts', '.mts')
      const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start!).line
      const told = `line ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
      messages.set(name, [...(messages.get(name) ?? []), told])
    }
  })

  test('the names that fragments may use', () => expect(messages.get('prelude') ?? []).toEqual([]))

  test.each(snippets.map((snippet) => [title(snippet), snippet] as const))('%s compiles', (_title, { page, line, code }) => {
    const expected = code.split('\n').flatMap((text, i) => (text.includes('// does not compile') ? [i + 1] : []))
    const found = messages.get(`${page.replaceAll('/', '-')}-${line}`) ?? []
    const lineOf = (message: string) => Number(/^line (\d+)/.exec(message)![1])
    expect(found.filter((message) => !expected.includes(lineOf(message)))).toEqual([])
    expect(new Set(found.map(lineOf))).toEqual(new Set(expected))
  })
})

describe('programs', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-docs-'))
  beforeAll(() => void prepareProject(folder))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const programs = snippets.filter(({ isProgram, notRun }) => isProgram && notRun === undefined)

  test.each(programs.map((snippet) => [title(snippet), snippet] as const))('%s runs', (_title, snippet) => {
    runProgram(snippet, folder)
  })
})

test('the table of error codes is complete', () => {
  const declared = readFileSync(path.join(root, 'types', 'index.d.ts'), 'utf8').match(/type DiffusionErrorCode = (.*);/)![1]!
  const codes = (text: string) => [...text.matchAll(/\bERR_[A-Z_]+/g)].map(([code]) => code)
  const rows = readFileSync(path.join(root, 'docs', 'troubleshooting.md'), 'utf8').match(/^\| `ERR_\w+`\s.*$/gm)!
  const listed = rows.flatMap((row) => codes(row.split('|')[1]!))
  expect(new Set(listed)).toEqual(new Set([...codes(declared), 'ERR_INVALID_ARG', 'ERR_IMAGE_FORMAT', 'ERR_UNSUPPORTED_IMAGE']))
})

test('a container file copies only what npm makes in the folder of a project', () => {
  const files = snippetsOf('docs/guides/deployment.md', ['dockerfile']).flatMap(
    ({ code }) => code.match(/(?<=^COPY ).*(?= \S+$)/gm)?.flatMap((text) => text.split(' ')) ?? [],
  )
  expect(files).toEqual(['package.json', 'package-lock.json'])
})

describe('commands', () => {
  /** A command line without comments and quoted texts; for a list in JSON, its items. */
  const wordsOf = (text: string) =>
    text.startsWith('CMD [') ? (JSON.parse(text.slice(4)) as string[]).join(' ') : text.replace(/\s#.*$/, '').replace(/"[^"]*"|'[^']*'/g, 'TEXT')
  const commands = pages()
    .flatMap((page) => snippetsOf(page, ['sh', 'ini', 'dockerfile']))
    .flatMap(({ page, line, code }) =>
      code
        .replaceAll('\\\n', ' ')
        .split('\n')
        .flatMap((text) => {
          const call = /(?:^|\s|bin\/)latent\s+([a-z]+)\s(.*)/.exec(wordsOf(text))
          return call
            ? [{ title: `${page}:${line}: latent ${call[1]}`, command: call[1]!, flags: call[2]!.match(/(?<=\s|^)--?[a-z][\w-]*/gi) ?? [] }]
            : []
        }),
    )

  const keda = readFileSync(path.join(root, 'examples', 'fleet', 'keda.yaml'), 'utf8')
  const [, command, args] = /command: \[\S*latent, (\w+)\].*\n\s*args: \[(.*)\]/.exec(keda)!
  commands.push({ title: `examples/fleet/keda.yaml: latent ${command}`, command: command!, flags: args!.match(/--[a-z-]+/g)! }) // queueing.test checks the rest of it

  test.each(commands.map((each) => [each.title, each.command, each.flags] as const))('%s has its flags', async (_title, command, flags) => {
    const { code, stdout } = await cli([command, '--help'])
    expect(code).toBe(0)
    const known = new Set(stdout.match(/(?<=^|[\s,(])--?[a-z][\w-]*/gim))
    expect(flags.filter((flag) => !known.has(flag))).toEqual([])
  })
})
