/** Families of files that change a model: adapters and textual inversions. */
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { damageBytes, damageJsonText } from './random.mjs'

const latent = createRequire(import.meta.url)('../../dist/index.js')

/** A safetensors file of a header in JSON and its data. */
export function safetensorsFile(header, data) {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, data])
}

/** Layers of the model inside the package, by kohya's names, and their sizes: rows, channels, taps. */
const adaptedLayers = [
  ['lora_unet_input_blocks_3_1_proj_in', 128, 128, [1, 1]],
  ['lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q', 128, 128, []],
  ['lora_unet_mid_block_resnets_0_conv1', 128, 128, [3, 3]],
  ['lora_unet_input_blocks_3_0_in_layers_2', 128, 64, [3, 3]],
  ['transformer.resblocks.0.attn.in_proj', 384, 128, []], // q, k and v of the text encoder
  ['base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q', 128, 128, []],
]
/** The tensors of each form for a layer, each with its shape. */
const adapterForms = [
  (out, into, taps) => ({ 'lora_down.weight': [4, into, ...taps], 'lora_up.weight': [out, 4, ...taps.map(() => 1)], alpha: [] }),
  (out, into, taps) => ({ 'lora_down.weight': [4, into, ...taps], 'lora_up.weight': [out, 4, ...taps.map(() => 1)], dora_scale: [out, 1] }),
  (out, into) => ({ 'lora_down.weight': [4, into, 1, 1], 'lora_mid.weight': [4, 4, 3, 3], 'lora_up.weight': [out, 4, 1, 1] }),
  (out, into, taps) => {
    const inner = taps.reduce((a, b) => a * b, into)
    return { hada_w1_a: [out, 3], hada_w1_b: [3, inner], hada_w2_a: [out, 3], hada_w2_b: [3, inner], alpha: [] }
  },
  (out, into) => ({
    hada_t1: [3, 3, 3, 3],
    hada_w1_a: [3, out],
    hada_w1_b: [3, into],
    hada_t2: [3, 3, 3, 3],
    hada_w2_a: [3, out],
    hada_w2_b: [3, into],
  }),
  (out, into, taps) => ({ lokr_w1: [8, 8], lokr_w2_a: [out / 8, 2], lokr_w2_b: [2, taps.reduce((a, b) => a * b, into / 8)], alpha: [] }),
  (out, into) => ({ lokr_w1_a: [8, 2], lokr_w1_b: [2, 8], lokr_t2: [2, 2, 3, 3], lokr_w2_a: [2, out / 8], lokr_w2_b: [2, into / 8] }),
  (out, into, taps) => ({ 'a1.weight': [into, 4], 'a2.weight': [4, into], 'b1.weight': [out, 4], 'b2.weight': [4, into, ...taps], alpha: [] }),
  (out) => ({ weight: [out], on_input: [] }),
  (out) => ({ oft_blocks: [8, out / 8, out / 8], alpha: [], rescale: [out, 1] }),
  (out) => ({ oft_blocks: [2, out / 4, 4, 4], alpha: [] }),
  (out, into, taps) => ({ diff: [out, into, ...taps], diff_b: [out] }),
  (out, into, taps) => ({ set_weight: [out, into, ...taps] }),
  (out, into) => ({ 'oft_R.weight': [into / 8, 28] }),
  (out, into) => ({ 'oft_R.default.weight': [1, (into * (into - 1)) / 2] }),
  (out, into, taps) => ({ diff: [out, into, ...taps], reshape_weight: [2 + taps.length] }),
]

/** PEFT's configuration beside an adapter_model file, with right and wrong values. */
function peftConfig(random) {
  const config = {
    peft_type: random.pick(['OFT', 'LORA', 7]),
    use_cayley_neumann: random.pick([true, false, 'yes', null]),
    num_cayley_neumann_terms: random.pick([5, 1, 2, 3, 64, 65, 0, -1, 1e9, 2.5, '5']),
    coft: random.pick([true, false]),
    eps: random.pick([6e-5, 0, -1, 1e300, 'small']),
    lora_alpha: random.pick([8, 0, -8, 1e300]),
    use_rslora: random.pick([true, false]),
  }
  for (const key of Object.keys(config)) if (random.chance(0.2)) delete config[key]
  return random.chance(0.1) ? damageJsonText(config, random) : Buffer.from(JSON.stringify(config))
}

function adapterFile(random) {
  const header = {}
  let offset = 0
  for (const [layer, out, into, taps] of adaptedLayers) {
    if (random.chance(0.4)) continue
    for (const [role, shape] of Object.entries(random.pick(adapterForms)(out, into, taps))) {
      if (random.chance(0.01)) continue
      const sizes = random.chance(0.02) ? shape.map((n) => (random.chance(0.5) ? random.pick([0, 1, n + 1, 2 * n]) : n)) : shape
      const bytes = 4 * sizes.reduce((a, b) => a * b, 1)
      header[`${random.chance(0.03) ? 'lora_te_' : ''}${layer}.${role}`] = { dtype: 'F32', shape: sizes, data_offsets: [offset, (offset += bytes)] }
    }
  }
  const data = Buffer.from(Float32Array.from({ length: offset / 4 }, () => random.next() - 0.5).buffer)
  const text = random.chance(0.1) ? damageJsonText(header, random) : Buffer.from(JSON.stringify(header))
  const bytes = safetensorsFile(text, data)
  return random.chance(0.15) ? damageBytes(bytes, random) : bytes
}

let adaptedPipe
export const adapters = {
  make: (random) => ({
    bytes: adapterFile(random),
    config: random.chance(0.4) ? peftConfig(random) : undefined,
    weight: random.pick([1, 0.5, -1, 1000]),
    draws: random.chance(0.2),
  }),
  run: async ({ bytes, config, weight, draws }, folder) => {
    adaptedPipe ??= await latent.DiffusionPipeline.load(undefined, { threads: 1 })
    const file = path.join(folder, config ? 'adapter_model.safetensors' : 'adapter.safetensors')
    writeFileSync(file, bytes)
    if (config) writeFileSync(path.join(folder, 'adapter_config.json'), config)
    try {
      await adaptedPipe.setLoras([{ path: config ? folder : file, weight }])
      if (draws) await adaptedPipe.generate({ prompt: 'a red circle', steps: 1, seed: 1 })
    } finally {
      await adaptedPipe.setLoras([])
    }
  },
}

/** Textual inversions of every form for the model inside the package, whose text encoder is 128 wide. */
export const embeddings = {
  make: (random) => {
    const shape = random.chance(0.8)
      ? random.pick([[128], [1, 128], [3, 128]])
      : random.pick([[0, 128], [3, 64], [128, 0], [80, 128], [1, 3, 128], []])
    const names = random.pick([
      ['emb_params'],
      ['string_to_param.*'],
      ['<word>'],
      ['<word>', 'other'],
      ['clip_l'],
      ['clip_l', 'clip_g'],
      ['(', ')'],
      [],
    ])
    const header = {}
    let offset = 0
    for (const name of names) header[name] = { dtype: 'F32', shape, data_offsets: [offset, (offset += 4 * shape.reduce((a, b) => a * b, 1))] }
    const text = random.chance(0.2) ? damageJsonText(header, random) : Buffer.from(JSON.stringify(header))
    const bytes = safetensorsFile(text, Buffer.from(Float32Array.from({ length: offset / 4 }, () => random.next()).buffer))
    return { bytes: random.chance(0.2) ? damageBytes(bytes, random) : bytes, inFolder: random.chance(0.3) }
  },
  run: async ({ bytes, inFolder }, folder) => {
    const file = path.join(folder, 'word.safetensors')
    writeFileSync(file, bytes)
    const options = inFolder ? { embeddingDirectory: folder } : { embeddings: [file] }
    const pipe = await latent.DiffusionPipeline.load(undefined, { threads: 1, ...options })
    await pipe.encodePrompt('a (word:1.2), <word> and ( in one line').finally(() => pipe.dispose())
  },
}
