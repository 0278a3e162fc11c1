/**
 * The families of inputs: what a case of each is made of, by its number alone, and what reads it. A reader may succeed or refuse with one of the package's own errors;
 * anything else is a finding (worker.mjs).
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { deflateSync } from 'node:zlib'
import { adapters, embeddings, safetensorsFile } from './adapter-families.mjs'
import { damageBytes, damageJson, damageJsonText } from './random.mjs'

const require = createRequire(import.meta.url)
const latent = require('../../dist/index.js')
const { main } = require('../../dist/cli/main.js')
const { ClipTokenizer } = require('../../dist/text/clip-tokenizer.js')
const { readTokenizerFiles } = require('../../dist/text/tokenizer-files.js')
const { tokenizePrompt } = require('../../dist/text/prompt.js')

const files = new URL('../fixtures/files/', import.meta.url)
const fixture = (name) => readFileSync(new URL(name, files))
const embedded = new URL('../../models/tiny-scenes.gguf', import.meta.url)

/** Everything that can be read of a model file without a request: its header, and the estimate that follows from it. */
async function readModel(file, options = {}) {
  const info = await latent.inspect(file, options)
  if (info.spec.kind !== 'autoencoder') await latent.estimateMemory(file, { width: 64, height: 64 }, options).catch(ownErrorsAlone)
}

/** What may be thrown. */
export function isOwnError(error) {
  if (error instanceof latent.DiffusionError) return error.code !== 'ERR_INTERNAL'
  return (error instanceof TypeError || error instanceof RangeError) && error.code === 'ERR_INVALID_ARG'
}
function ownErrorsAlone(error) {
  if (!isOwnError(error)) throw error
}

/** A family of whole files with damaged bytes. */
function damagedFiles(names, extension, { head = Infinity } = {}) {
  return {
    make: (random) => {
      const bytes = fixture(random.pick(names))
      return { bytes: damageBytes(bytes, random, 0, Math.min(head, bytes.length)) }
    },
    run: async ({ bytes }, folder) => {
      const file = path.join(folder, `model.${extension}`)
      writeFileSync(file, bytes)
      await readModel(file)
    },
  }
}

const safetensors = {
  make: (random) => {
    const bytes = fixture(random.pick(['plain.safetensors', 'mixed.safetensors', 'float8.safetensors', 'order.safetensors']))
    if (random.chance(0.3)) return { bytes: damageBytes(bytes, random) }
    const length = Number(bytes.readBigUInt64LE(0))
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
    return { bytes: safetensorsFile(damageJsonText(header, random), bytes.subarray(8 + length)) }
  },
  run: async ({ bytes }, folder) => {
    const file = path.join(folder, 'model.safetensors')
    writeFileSync(file, bytes)
    await readModel(file)
  },
}

const gguf = {
  make: (random) => {
    if (random.chance(0.7)) return { bytes: damageBytes(fixture('small.gguf'), random) }
    // The head of a whole model: its spec, tokenizer and table of tensors, with the length that it should have.
    const bytes = readFileSync(embedded)
    return { bytes: damageBytes(bytes, random, 0, random.pick([64, 4096, 1 << 19])) }
  },
  run: safetensorsLike('gguf'),
}

function safetensorsLike(extension) {
  return async ({ bytes }, folder) => {
    const file = path.join(folder, `model.${extension}`)
    writeFileSync(file, bytes)
    await readModel(file)
  }
}

const shards = new URL('sharded/unet/', files)
const shardIndex = 'diffusion_pytorch_model.safetensors.index.json'
const sharded = {
  make: (random) => ({ index: damageJsonText(JSON.parse(readFileSync(new URL(shardIndex, shards), 'utf8')), random) }),
  run: async ({ index }, folder) => {
    for (const name of readdirSync(shards)) writeFileSync(path.join(folder, name), name === shardIndex ? index : readFileSync(new URL(name, shards)))
    await readModel(path.join(folder, shardIndex)).catch(ownErrorsAlone)
    await readModel(folder)
  },
}

const unetConfig = {
  _class_name: 'UNet2DConditionModel',
  in_channels: 4,
  out_channels: 4,
  block_out_channels: [32, 64],
  down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
  layers_per_block: 2,
  attention_head_dim: 8,
  cross_attention_dim: 64,
  sample_size: 64,
}
const schedulerConfig = {
  _class_name: 'PNDMScheduler',
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  prediction_type: 'epsilon',
}
const modelIndex = { _class_name: 'StableDiffusionPipeline', unet: ['diffusers', 'UNet2DConditionModel'], scheduler: ['diffusers', 'PNDMScheduler'] }

const diffusers = {
  make: (random) => ({
    index: damageJsonText(modelIndex, random),
    unet: damageJsonText(unetConfig, random),
    scheduler: damageJsonText(schedulerConfig, random),
  }),
  run: async ({ index, unet, scheduler }, folder) => {
    for (const part of ['unet', 'scheduler']) mkdirSync(path.join(folder, part), { recursive: true })
    writeFileSync(path.join(folder, 'model_index.json'), index)
    writeFileSync(path.join(folder, 'unet', 'config.json'), unet)
    writeFileSync(path.join(folder, 'scheduler', 'scheduler_config.json'), scheduler)
    writeFileSync(path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors'), fixture('plain.safetensors'))
    await readModel(folder)
  },
}

const yamlText = `model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params: &p
    linear_start: 0.00085
    linear_end: 0.012
    timesteps: 1000
    cond_stage_key: txt
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params: {in_channels: 4, out_channels: 4, model_channels: 32, attention_resolutions: [4, 2, 1], num_res_blocks: 2, channel_mult: [1, 2], num_heads: 8}
    again: *p
`
const yaml = {
  make: (random) => ({ text: damageBytes(Buffer.from(random.chance(0.5) ? yamlText.replace('    again: *p\n', '') : yamlText), random) }),
  run: async ({ text }, folder) => {
    const file = path.join(folder, 'model.safetensors')
    writeFileSync(file, fixture('plain.safetensors'))
    writeFileSync(path.join(folder, 'model.yaml'), text)
    await readModel(file)
  },
}

const vocabulary = Object.fromEntries(
  [
    ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)),
    ...Array.from({ length: 94 }, (_, i) => `${String.fromCharCode(33 + i)}</w>`),
  ]
    .concat(['ca', 'cat</w>', '<|startoftext|>', '<|endoftext|>'])
    .map((token, id) => [token, id]),
)
const tokenizers = {
  make: (random) => ({
    vocab: damageJsonText(vocabulary, random),
    merges: random.chance(0.5) ? damageBytes(Buffer.from('#version: 0.2\nc a\nca t</w>\n'), random) : Buffer.from('#version: 0.2\nc a\nca t</w>\n'),
    config: damageJsonText({ bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', pad_token: '<|endoftext|>', model_max_length: 77 }, random),
  }),
  run: async ({ vocab, merges, config }, folder) => {
    writeFileSync(path.join(folder, 'vocab.json'), vocab)
    writeFileSync(path.join(folder, 'merges.txt'), merges)
    writeFileSync(path.join(folder, 'tokenizer_config.json'), config)
    const data = await readTokenizerFiles(folder)
    if (data) await tokenizePrompt(await ClipTokenizer.create(data), 'A (cat:1.2), the\u0000 <Style> 日本 BREAK <|endoftext|>')
  },
}

/** A NumPy array file. */
function npy(descr, shape, data) {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`.padEnd(117) + '\n'
  const head = Buffer.concat([Buffer.from([0x93]), Buffer.from('NUMPY'), Buffer.from([1, 0, text.length & 255, text.length >> 8]), Buffer.from(text)])
  return Buffer.concat([head, data])
}

/** A stored zip of one file. The check sum is left at 0 where `crc` says so. */
function zipOf(name, content) {
  const crc = crc32(content)
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50, 0)
  local.writeUInt16LE(20, 4)
  local.writeUInt32LE(crc, 14)
  local.writeUInt32LE(content.length, 18)
  local.writeUInt32LE(content.length, 22)
  local.writeUInt16LE(name.length, 26)
  const central = Buffer.alloc(46)
  central.writeUInt32LE(0x02014b50, 0)
  local.copy(central, 6, 4, 30)
  const body = Buffer.concat([local, Buffer.from(name), content])
  const directory = Buffer.concat([central, Buffer.from(name)])
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(body.length, 16)
  return Buffer.concat([body, directory, end])
}

const crcTable = Int32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
  return n
})
function crc32(bytes) {
  let crc = -1
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8)
  return (crc ^ -1) >>> 0
}

const npz = {
  make: (random) => {
    const array = npy('<f4', [4, 8], Buffer.from(new Float32Array(32).fill(0.5).buffer))
    // Half of the damage lies in the array, behind a zip that is right.
    const zip = zipOf('embedding.npy', random.chance(0.5) ? damageBytes(array, random, 0, 128) : array)
    return { bytes: random.chance(0.5) ? damageBytes(zip, random) : zip }
  },
  run: async ({ bytes }, folder) => {
    const file = path.join(folder, 'rows.npz')
    writeFileSync(file, bytes)
    const database = await latent.RetrievalDatabase.load(file)
    await database.search(new Float32Array(database.dim), { k: 1 })
  },
}

function pngChunk(type, data) {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(data.length, 0)
  head.write(type, 4, 'latin1')
  const tail = Buffer.alloc(4)
  tail.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), data])), 0)
  return Buffer.concat([head, data, tail])
}

/** A PNG file put together from chunks at random: plausible ones, surplus ones, wrong ones, in a wrong order now and then. */
function randomPng(random) {
  const width = 1 + random.below(20)
  const height = 1 + random.below(20)
  const colour = random.pick([0, 2, 3, 4, 6])
  const depth = random.pick(colour === 0 ? [1, 2, 4, 8, 16] : colour === 3 ? [1, 2, 4, 8] : [8, 16])
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[colour]
  const header = Buffer.alloc(13)
  header.writeUInt32BE(random.chance(0.05) ? random.pick([0, 0x7fffffff, 40_000]) : width, 0)
  header.writeUInt32BE(height, 4)
  header.set([depth, colour, 0, 0, random.below(2)], 8)
  const raw = Buffer.alloc(height * (1 + Math.ceil((width * samples * depth) / 8)) + random.below(3) * 7, random.below(5))
  const texts = () => random.pick([Buffer.from('parameters\0a cat'), Buffer.from('k\0\0\0\0\0v'), deflateSync(Buffer.alloc(5000))])
  const chunks = [pngChunk('IHDR', header)]
  const extra = ['PLTE', 'tRNS', 'gAMA', 'sRGB', 'iCCP', 'eXIf', 'tEXt', 'iTXt', 'zTXt', 'cHRM', 'tIME', 'aaAa']
  for (let i = random.below(5); i > 0; i--)
    chunks.push(pngChunk(random.pick(extra), random.chance(0.5) ? texts() : Buffer.alloc(random.below(40), random.below(256))))
  if (colour === 3) chunks.push(pngChunk('PLTE', Buffer.alloc(3 * (1 + random.below(260)), 77)))
  const packed = deflateSync(raw)
  const cut = random.below(packed.length)
  chunks.push(pngChunk('IDAT', packed.subarray(0, cut)), pngChunk('IDAT', packed.subarray(cut)), pngChunk('IEND', Buffer.alloc(0)))
  if (random.chance(0.2)) chunks.reverse()
  const bytes = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ...chunks])
  return random.chance(0.4) ? damageBytes(bytes, random) : bytes
}

const png = {
  make: (random) => ({ bytes: randomPng(random) }),
  run: async ({ bytes }) => {
    const { data, width, height, channels } = await latent.RawImage.read(bytes)
    if (data.length !== width * height * channels) throw new Error(`${data.length} bytes for ${width}x${height}x${channels}`)
  },
}

let encoded
const pictures = {
  make: async (random) => {
    const image = new latent.RawImage({ data: new Uint8Array(24 * 24 * 3).map((_, i) => i * 7), width: 24, height: 24, channels: 3 })
    encoded ??= [await image.encode('jpeg'), await image.encode('webp')]
    return { bytes: damageBytes(random.pick(encoded), random) }
  },
  run: png.run,
}

const outerZip = damagedFiles(['release.zip'], 'zip')

/** The specification in a GGUF file, and one that a caller gives. */
const spec = {
  make: async (random) => {
    const { spec: whole } = await latent.inspect(undefined)
    return { spec: damageJson(whole, random, random.pick([0.02, 0.1])) }
  },
  run: async ({ spec: given }) => {
    await latent.inspect(undefined, { spec: given })
    await latent.estimateMemory(undefined, { width: 64, height: 64 }, { spec: given })
  },
}

const numbers = [undefined, null, -1, 0, 1, 2, 3, 7, 50, 999, 1000, 1e9, 0.5, -0.5, NaN, Infinity, '3', 5n, 2n ** 64n]
const { samplerNames, scheduleNames } = require('../../dist/names.js')
const solver = {
  make: (random) => ({
    options: {
      sampler: random.chance(0.95) ? random.pick(samplerNames) : random.pick(['', 'Euler', 3]),
      ...(random.chance(0.8)
        ? { schedule: random.chance(0.95) ? random.pick(scheduleNames) : random.pick([new Float32Array([3, 2, 1, 0]), new Float32Array(0), 'x']) }
        : {}),
      steps: random.chance(0.7) ? 1 + random.below(30) : random.pick(numbers),
      ...(random.chance(0.3) ? { eta: random.pick(numbers) } : {}),
      ...(random.chance(0.3) ? { seed: random.pick(numbers) } : {}),
      ...(random.chance(0.3) ? { prediction: random.pick(['eps', 'v', 'x', 1]) } : {}),
      ...(random.chance(0.3)
        ? { noiseSchedule: { zeroTerminalSnr: random.pick([true, false, 1]), ...(random.chance(0.3) ? { betaEnd: random.pick(numbers) } : {}) } }
        : {}),
      ...(random.chance(0.3) ? { strength: random.pick(numbers) } : {}),
    },
  }),
  run: async ({ options }) => {
    const made = await latent.createSolver(options)
    const x = new Float32Array(16).fill(0.5)
    let current = x
    for (let i = 0; i < Math.min(8, made.evaluations.length); i++) current = await made.step(new Float32Array(16).fill(0.1), current, i)
    if (!current.every(Number.isFinite)) throw new Error('latents that are not finite')
  },
}

const flags = [
  '-m',
  '-p',
  '--prompt',
  '--steps',
  '--seed',
  '--width',
  '--height',
  '--sampler',
  '--schedule',
  '--json',
  '--quiet',
  '--type',
  '--image',
  '--mask',
  '--boxes',
  '--count',
  '--memory',
  '--dtype',
  '-o',
  '--zzz',
  '--',
  '-h',
]
const values = [
  '',
  '0',
  '-1',
  '1',
  '8',
  '1e99',
  'NaN',
  'x',
  'out.png',
  '/nonexistent/x.png',
  '../x',
  'ddim',
  'karras',
  'q8_0',
  '{"a":1}',
  '\u0000',
  '日本',
  '--help',
]
const commands = ['generate', 'demo', 'upscale', 'convert', 'inspect', 'estimate', 'rdm', 'help', 'x', '', '--version']
const cli = {
  make: (random) => ({
    argv: [random.pick(commands), ...Array.from({ length: random.below(7) }, () => random.pick(random.chance(0.6) ? flags : values))],
  }),
  run: async ({ argv }, folder) => {
    // A model that is not there and an output in the folder of the case: what is right would draw images for a while.
    const [out, err] = [new PassThrough().resume(), new PassThrough().resume()]
    const guarded = argv.map((word) => (word === 'out.png' ? path.join(folder, word) : word))
    const whole = /^(generate|demo|upscale)$/.test(argv[0]) ? [...guarded, '-m', path.join(folder, 'none.gguf')] : guarded
    const code = await main(whole, { stdout: out, stderr: err, signal: new AbortController().signal })
    if (![0, 1, 2].includes(code)) throw new Error(`exit code ${code}`)
  },
}

export const families = {
  adapters,
  embeddings,
  safetensors,
  gguf,
  'torch-zip': damagedFiles(['bf16.ckpt', 'half.ckpt', 'lightning.ckpt', 'dtypes.pth', 'bare.pth', 'params_ema.pth', 'strides.ckpt'], 'ckpt'),
  'torch-legacy': damagedFiles(['legacy.ckpt', 'legacy-half.ckpt', 'strides-legacy.ckpt'], 'ckpt'),
  sharded,
  diffusers,
  yaml,
  tokenizers,
  npz,
  png,
  pictures,
  'outer-zip': outerZip,
  spec,
  solver,
  cli,
}
