/** The one way in which files from outside are opened: pipes, devices and folders are refused at once, wherever a path can be given. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionError } from '../../lib/errors'
import { openRegular, readRegular, streamRange, type FileKind } from '../../lib/files/regular-file'
import { readLabelMap } from '../../lib/image/label-map'
import { RawImage } from '../../lib/image/raw-image'
import { givenConfig } from '../../lib/model/config-file'
import { unpackOuterZip } from '../../lib/model/outer-zip'
import { RetrievalDatabase } from '../../lib/retrieval/database'
import { readBertFiles } from '../../lib/text/bert-files'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { readInputs } from '../../lib/cli/input-flags'

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'files-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const kind: FileKind = { what: 'The file', maxBytes: 1000, refuse: (message, details) => new DiffusionError('ERR_TEST', message, details) }

test('a file can be read completely, in part and in pieces', async () => {
  const file = path.join(folder, 'a')
  const bytes = Buffer.from(Array.from({ length: 900 }, (_, i) => i & 255))
  writeFileSync(file, bytes)
  expect(await readRegular(file, kind)).toEqual(bytes)
  const pieces: Buffer[] = []
  for await (const piece of streamRange(file, kind, 10, 2000, 64)) pieces.push(piece)
  expect(Buffer.concat(pieces)).toEqual(bytes.subarray(10))
  writeFileSync(file, '')
  expect(await readRegular(file, kind)).toHaveLength(0)
})

test('a file that shrinks while it is open gives the remaining bytes', async () => {
  const file = path.join(folder, 'a')
  writeFileSync(file, Buffer.alloc(900))
  const { handle, size } = await openRegular(file, kind)
  expect(size).toBe(900)
  await handle.close()
  const reading = streamRange(file, kind, 0, 900, 300)
  expect((await reading.next()).value).toHaveLength(300)
  truncateSync(file, 310)
  expect((await reading.next()).value).toHaveLength(10)
  expect((await reading.next()).done).toBe(true)
})

test('folders, devices, missing and oversized files are rejected, and the error says what they are', async () => {
  await expect(readRegular(folder, kind)).rejects.toMatchObject({ code: 'ERR_TEST', message: `The file ${folder} is not a regular file` })
  await expect(readRegular(path.join(folder, 'none'), kind)).rejects.toMatchObject({ code: 'ERR_IO', details: { path: path.join(folder, 'none') } })
  if (process.platform !== 'win32') await expect(readRegular('/dev/zero', kind)).rejects.toMatchObject({ code: 'ERR_TEST' })
  writeFileSync(path.join(folder, 'large'), Buffer.alloc(1001))
  await expect(readRegular(path.join(folder, 'large'), kind)).rejects.toMatchObject({ code: 'ERR_TEST', details: { bytes: 1001 } })
})

const pipes = process.platform === 'win32' ? describe.skip : describe
pipes('a pipe that nobody writes to is refused, not waited for', () => {
  const pipe = (name: string) => {
    const file = path.join(folder, name)
    execFileSync('mkfifo', [file])
    return file
  }
  /** Several at once: a single reader that waits would only take one thread of the pool. */
  const refused = async (read: () => Promise<unknown>) => {
    for (const result of await Promise.allSettled(Array.from({ length: 6 }, read))) {
      expect(result.status).toBe('rejected')
      const { reason } = result as PromiseRejectedResult
      expect(String((reason as Error).message)).toMatch(/not a regular file/)
    }
    // The pool still works.
    expect(await readRegular(path.join(folder, 'sound'), kind)).toHaveLength(1)
  }
  beforeEach(() => writeFileSync(path.join(folder, 'sound'), 'x'))

  test.each<[string, string, (file: string) => Promise<unknown>]>([
    ['an image', 'a.png', (file) => RawImage.read(file)],
    ['a label map', 'a.png', (file) => readLabelMap(file, 10)],
    ['a database', 'a.npz', (file) => RetrievalDatabase.load(file)],
    ['a database', 'a.safetensors', (file) => RetrievalDatabase.load(file)],
    ['a configuration', 'a.yaml', (file) => givenConfig(file)],
    ['an archive', 'a.zip', (file) => unpackOuterZip(file)],
    ['a tokenizer', 'tokenizer.json', (file) => readTokenizerFiles(file)],
    ['BERT’s vocabulary', 'vocab.txt', (file) => readBertFiles(file)],
    ['boxes of the command line', 'boxes.json', (file) => readInputs({ boxes: file })],
  ])('%s: %s', async (_, name, read) => {
    const file = pipe(name)
    await refused(() => read(file))
  })

  test.each(['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'vocab.txt'])('%s in a folder', async (name) => {
    mkdirSync(path.join(folder, 'tokenizer'))
    pipe(path.join('tokenizer', name))
    await refused(() => readBertFiles(path.join(folder, 'tokenizer')))
  })
})

test('lib/ reads files only through lib/files, except those of the package', () => {
  const own = ['lib/files/', 'lib/native/load.ts', 'lib/model/assets.ts', 'lib/cli/main.ts', 'lib/cli/build.ts', 'lib/cli/bench']
  // The manifests of the package and of its own GPU library; blobs of the cache that were just written or listed; the token, looked at first.
  own.push('lib/native/package-root.ts', 'lib/model/gpu.ts', 'lib/hub/hash.ts', 'lib/hub/settings.ts')
  const sources = execFileSync(process.execPath, ['-e', "console.log(require('fs').readdirSync('lib', { recursive: true }).join('\\n'))"])
    .toString()
    .split('\n')
    .map((name) => `lib/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.ts') && !own.some((prefix) => name.startsWith(prefix)))
  expect(sources.length).toBeGreaterThan(60)
  const openers = /\b(readFile|readFileSync|openSync|createReadStream|yauzl\.open|fromFd)\b/
  expect(sources.filter((name) => openers.test(readFileSync(name, 'utf8')))).toEqual([])
})
