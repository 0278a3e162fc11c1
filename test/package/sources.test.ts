/** Where the native build takes other people's sources from: native/cmake/packages.cmake, run by CMake itself. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-sources-'))
const write = (...names: string[]) => {
  const file = path.join(folder, ...names)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, '{}')
}

/** What latent_staged finds in the folder, and what CMake says besides. */
function staged(): { found: string; said: string } {
  const script = path.join(folder, 'look.cmake')
  const packages = path.resolve(__dirname, '..', '..', 'native', 'cmake', 'packages.cmake').replaceAll(path.sep, '/')
  const project = folder.replaceAll(path.sep, '/')
  writeFileSync(
    script,
    `set(PROJECT_SOURCE_DIR "${project}")\ninclude("${packages}")\nlatent_staged(ggml CMakeLists.txt ggml-source found)\nmessage("found: ${'$'}{found}")\n`,
  )
  const { stderr, status } = spawnSync('cmake', ['-P', script], { encoding: 'utf8' })
  expect(status).toBe(0)
  return { found: /^found: (.*)$/m.exec(stderr)![1]!.replace(project, '.'), said: stderr }
}

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('deps/ is used when nothing else is found; a leftover one next to node_modules is ignored with a warning', () => {
  expect(staged().found).toBe('')
  write('deps', 'ggml', 'CMakeLists.txt')
  const alone = staged()
  expect(alone.found).toBe('./deps/ggml')
  expect(alone.said).not.toMatch(/warning/i)
  write('node_modules', 'ggml-source', 'package.json')
  const both = staged()
  expect(both.found).toBe('')
  expect(both.said.replace(/\s+/g, ' ')).toContain('deps/ggml is not used, as node_modules/ggml-source is there')
})
