/** The compiler's side of the API: what is taken and refused after narrowing, and what an editor shows. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

const file = path.resolve('test', 'types', 'kinds.ts')
const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile('tsconfig.json', (name) => ts.sys.readFile(name)).config, ts.sys, '.')
const text = readFileSync(file, 'utf8')

const service = ts.createLanguageService({
  getScriptFileNames: () => [file],
  getScriptVersion: () => '1',
  getScriptSnapshot: (name) => (existsSync(name) ? ts.ScriptSnapshot.fromString(readFileSync(name, 'utf8')) : undefined),
  getCurrentDirectory: () => process.cwd(),
  getCompilationSettings: () => options,
  getDefaultLibFileName: (settings) => ts.getDefaultLibFilePath(settings),
  fileExists: (name) => ts.sys.fileExists(name),
  readFile: (name) => ts.sys.readFile(name),
  directoryExists: (name) => ts.sys.directoryExists(name),
  getDirectories: (name) => ts.sys.getDirectories(name),
})

/** What an editor shows at the end of `marker`, behind `from`. */
function hover(marker: string, from: string): string {
  const at = text.indexOf(marker, text.indexOf(from)) + marker.length - 1
  return ts.displayPartsToString(service.getQuickInfoAtPosition(file, at)?.displayParts)
}

test('types narrow by kind as in test/types/kinds.ts', () => {
  const problems = [...service.getSyntacticDiagnostics(file), ...service.getSemanticDiagnostics(file)].map(({ start, messageText }) => {
    const line = text.slice(0, start).split('\n').length
    return `${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
  expect(problems).toEqual([])
  // The file must be able to fail: without the comments each of those lines is an error.
  expect(text.match(/@ts-expect-error/g)!.length).toBeGreaterThan(20)
})

test('an editor shows short names', () => {
  expect(hover('const pipe', 'unnarrowed')).toBe('const pipe: DiffusionPipeline<ModelKind>')
  expect(hover('await pipe.generate', 'unnarrowed')).toContain('options?: AnyGenerateOptions')
  const narrowed = hover('await pipe.generate', 'byKind')
  expect(narrowed).toContain('options: ClassGenerateOptions): Promise<GenerateResult<ClassResolvedOptions>>')
  expect(narrowed.length).toBeLessThan(250)
})

// The published declarations in a project without @types/node, without lib.dom and without skipLibCheck.
test.each([
  ['node16', 'node16'],
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('the declarations compile by themselves: module %s, resolution %s', (module, moduleResolution) => {
  const consumer = path.resolve('test', 'types', 'consumer.mts')
  const { options: bare, errors } = ts.convertCompilerOptionsFromJson(
    { noEmit: true, strict: true, target: 'es2022', lib: ['es2022'], types: [], skipLibCheck: false, module, moduleResolution },
    process.cwd(),
  )
  expect(errors).toEqual([])
  const program = ts.createProgram([consumer], bare)
  expect(program.getSourceFiles().map(({ fileName }) => path.relative(process.cwd(), fileName))).toContain(path.join('types', 'index.d.ts'))
  expect(ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))).toEqual([])
})
