import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { ImageEncoder, RawImage, writeRetrievalDatabase } from '../index.js'
import { readFlags, reportFlags, toJson, UsageError, type Command, type Flags, type Io } from './command.js'
import { checkOutput } from './drawing.js'
import { loadFlags, readLoadOptions } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const { device, dtype, precision, memory, threads } = loadFlags

const flags = {
  'image-encoder': { kind: 'text', value: 'FILE', help: 'CLIP with an image tower: ViT-L/14 for the public model' },
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'database to write, .safetensors' },
  device,
  dtype,
  precision,
  memory,
  threads,
  ...reportFlags,
} as const satisfies Flags

/** Images below a folder, by relative path. */
async function picturesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true }).catch((error: Error) => {
    throw new UsageError(`${folder} cannot be read: ${error.message}`)
  })
  const names = entries.filter((name) => /\.(png|jpe?g|webp)$/i.test(name)).map((name) => name.replaceAll(path.sep, '/'))
  if (names.length === 0) throw new UsageError(`${folder} has no images (.png, .jpg, .jpeg, .webp)`)
  return names.sort()
}

interface Rows {
  embeddings: Float32Array
  dim: number
  patches: number[][]
}

async function embedAll(encoder: ImageEncoder, folder: string, names: readonly string[], io: Io, quiet: boolean | undefined): Promise<Rows> {
  const bar = progressBar(io, quiet)
  const began = performance.now()
  const embeddings = new Float32Array(names.length * encoder.dim)
  const patches: number[][] = []
  try {
    for (const [i, name] of names.entries()) {
      const image = await RawImage.read(path.join(folder, name))
      embeddings.set(await encoder.embed(image, { signal: io.signal }), i * encoder.dim)
      patches.push([0, 0, image.width, image.height])
      const elapsedMs = performance.now() - began
      bar.update({ phase: 'encode', step: i + 1, steps: names.length, elapsedMs, etaMs: (elapsedMs / (i + 1)) * (names.length - i - 1) })
    }
  } finally {
    bar.clear()
  }
  return { embeddings, dim: encoder.dim, patches }
}

export const rdmCommand: Command = {
  name: 'rdm',
  summary: 'build an image database for retrieval-augmented models',
  usage: 'index FOLDER -o DATABASE.safetensors --image-encoder FILE',
  flags,
  notes:
    'Every image in FOLDER and its subfolders becomes one row: CLIP embedding, path, size. The published databases (.npz) need no index.\n' +
    'Use it with latent generate --neighbours DATABASE.safetensors.',
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 2, max: 2, names: 'index and one FOLDER' })
    const [action, folder] = positionals as [string, string]
    if (action !== 'index') throw new UsageError(`unknown action '${action}'; the only one is index`)
    const { output, 'image-encoder': source } = values
    if (source === undefined) throw new UsageError('no image encoder given: pass --image-encoder FILE')
    if (output === undefined || !/\.safetensors$/i.test(output)) throw new UsageError('-o must name the database to write, a .safetensors file')
    await checkOutput(output, '--output')
    const names = await picturesIn(folder)
    const bar = progressBar(io, values.quiet)
    const load = { ...readLoadOptions(values), signal: io.signal, onProgress: bar.update }
    await using encoder = await ImageEncoder.load(source, load).finally(bar.clear)
    const { embeddings, dim, patches } = await embedAll(encoder, folder, names, io, values.quiet)
    await writeRetrievalDatabase(output, { embeddings, shape: [names.length, dim], imageIds: names, patches })
    if (values.json) io.stdout.write(toJson({ database: output, rows: names.length, dim }))
    else if (!values.quiet) io.stdout.write(`${output}: ${names.length} images, embeddings of ${dim} numbers\n`)
  },
}
