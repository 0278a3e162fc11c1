#!/usr/bin/env node
/**
 * Writes a Stable Diffusion 1.x checkpoint with weights from a formula: correct names and shapes, but untrained. It generates noise. It shows that an engine
 * loads and runs the architecture, and how fast.
 *
 *   node scripts/synthetic-sd1.mjs [--size tiny|full] [--type f32|f16] [--out FILE] [--generate IMAGE]
 *
 * tiny (62 MB in f32) is the network of the reference case test/fixtures/models/sd1; full has the sizes of SD 1.5 (2 GB in f16).
 * The weights: h = FNV-1a-32(key) ^ seed, x_i = MurmurHash3's finaliser of h + i * 0x9E3779B9, v_i = x_i / 2^31 - 1, scaled by rule (below).
 */
import { mkdir, open, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { pathToFileURL } from 'node:url'

const seed = 1811273113
const scale = { w: 1, n: 0.1, b: 0.05, e: 0.5 }

export const sizes = {
  tiny: { unet: 32, context: 32, vae: 32, text: { hidden: 32, intermediate: 128, heads: 4, layers: 3 } },
  full: { unet: 320, context: 768, vae: 128, text: { hidden: 768, intermediate: 3072, heads: 12, layers: 12 } },
}

// ---- names and shapes ------------------------------------------------------------------------------------------------

/** Collects [key, shape, rule, dtype] in file order. Rules: w fan-in scaled weight, n norm scale, b bias, e embedding. */
export class Collector {
  tensors = []
  add(key, shape, rule, dtype = 'F32') {
    this.tensors.push({ key, shape, rule, dtype })
  }
  norm(key, channels) {
    this.add(`${key}.weight`, [channels], 'n')
    this.add(`${key}.bias`, [channels], 'b')
  }
  linear(key, input, output, bias = true) {
    this.add(`${key}.weight`, [output, input], 'w')
    if (bias) this.add(`${key}.bias`, [output], 'b')
  }
  conv(key, input, output, kernel) {
    this.add(`${key}.weight`, [output, input, kernel, kernel], 'w')
    this.add(`${key}.bias`, [output], 'b')
  }
}

export function unetResBlock(c, key, input, output, embedding) {
  c.norm(`${key}.in_layers.0`, input)
  c.conv(`${key}.in_layers.2`, input, output, 3)
  c.linear(`${key}.emb_layers.1`, embedding, output)
  c.norm(`${key}.out_layers.0`, output)
  c.conv(`${key}.out_layers.3`, output, output, 3)
  if (input !== output) c.conv(`${key}.skip_connection`, input, output, 1)
}

export function attention(c, key, channels, context) {
  c.linear(`${key}.to_q`, channels, channels, false)
  c.linear(`${key}.to_k`, context, channels, false)
  c.linear(`${key}.to_v`, context, channels, false)
  c.linear(`${key}.to_out.0`, channels, channels)
}

export function spatialTransformer(c, key, channels, context) {
  const block = `${key}.transformer_blocks.0`
  c.norm(`${key}.norm`, channels)
  c.conv(`${key}.proj_in`, channels, channels, 1)
  attention(c, `${block}.attn1`, channels, channels)
  c.linear(`${block}.ff.net.0.proj`, channels, channels * 8)
  c.linear(`${block}.ff.net.2`, channels * 4, channels)
  attention(c, `${block}.attn2`, channels, context)
  for (const i of [1, 2, 3]) c.norm(`${block}.norm${i}`, channels)
  c.conv(`${key}.proj_out`, channels, channels, 1)
}

/** ldm/modules/diffusionmodules/openaimodel.py UNetModel with SD 1.x's configuration. */
function unet(c, base, context) {
  const prefix = 'model.diffusion_model.'
  const embedding = base * 4
  const widths = [1, 2, 4, 4].map((m) => m * base)
  c.linear(`${prefix}time_embed.0`, base, embedding)
  c.linear(`${prefix}time_embed.2`, embedding, embedding)
  c.conv(`${prefix}input_blocks.0.0`, 4, base, 3)
  const skips = [base]
  let channels = base
  let index = 1
  widths.forEach((width, level) => {
    for (let i = 0; i < 2; i++, index++) {
      unetResBlock(c, `${prefix}input_blocks.${index}.0`, channels, width, embedding)
      channels = width
      if (level < 3) spatialTransformer(c, `${prefix}input_blocks.${index}.1`, channels, context)
      skips.push(channels)
    }
    if (level < 3) {
      c.conv(`${prefix}input_blocks.${index++}.0.op`, channels, channels, 3)
      skips.push(channels)
    }
  })
  unetResBlock(c, `${prefix}middle_block.0`, channels, channels, embedding)
  spatialTransformer(c, `${prefix}middle_block.1`, channels, context)
  unetResBlock(c, `${prefix}middle_block.2`, channels, channels, embedding)
  index = 0
  for (let level = 3; level >= 0; level--) {
    for (let i = 0; i < 3; i++, index++) {
      unetResBlock(c, `${prefix}output_blocks.${index}.0`, channels + skips.pop(), widths[level], embedding)
      channels = widths[level]
      if (level < 3) spatialTransformer(c, `${prefix}output_blocks.${index}.1`, channels, context)
      if (level > 0 && i === 2) c.conv(`${prefix}output_blocks.${index}.${level < 3 ? 2 : 1}.conv`, channels, channels, 3)
    }
  }
  c.norm(`${prefix}out.0`, channels)
  c.conv(`${prefix}out.2`, channels, 4, 3)
}

function vaeResBlock(c, key, input, output) {
  c.norm(`${key}.norm1`, input)
  c.conv(`${key}.conv1`, input, output, 3)
  c.norm(`${key}.norm2`, output)
  c.conv(`${key}.conv2`, output, output, 3)
  if (input !== output) c.conv(`${key}.nin_shortcut`, input, output, 1)
}

function vaeMiddle(c, key, channels) {
  vaeResBlock(c, `${key}.block_1`, channels, channels)
  c.norm(`${key}.attn_1.norm`, channels)
  for (const part of ['q', 'k', 'v', 'proj_out']) c.conv(`${key}.attn_1.${part}`, channels, channels, 1)
  vaeResBlock(c, `${key}.block_2`, channels, channels)
}

/** ldm/modules/diffusionmodules/model.py Encoder and Decoder, kl-f8. */
export function autoencoder(c, base) {
  const widths = [1, 2, 4, 4].map((m) => m * base)
  const [encoder, decoder] = ['first_stage_model.encoder', 'first_stage_model.decoder']
  c.conv(`${encoder}.conv_in`, 3, base, 3)
  let channels = base
  widths.forEach((width, level) => {
    for (let i = 0; i < 2; i++) {
      vaeResBlock(c, `${encoder}.down.${level}.block.${i}`, channels, width)
      channels = width
    }
    if (level < 3) c.conv(`${encoder}.down.${level}.downsample.conv`, channels, channels, 3)
  })
  vaeMiddle(c, `${encoder}.mid`, channels)
  c.norm(`${encoder}.norm_out`, channels)
  c.conv(`${encoder}.conv_out`, channels, 8, 3)
  c.conv(`${decoder}.conv_in`, 4, channels, 3)
  vaeMiddle(c, `${decoder}.mid`, channels)
  for (let level = 3; level >= 0; level--) {
    for (let i = 0; i < 3; i++) {
      vaeResBlock(c, `${decoder}.up.${level}.block.${i}`, channels, widths[level])
      channels = widths[level]
    }
    if (level > 0) c.conv(`${decoder}.up.${level}.upsample.conv`, channels, channels, 3)
  }
  c.norm(`${decoder}.norm_out`, channels)
  c.conv(`${decoder}.conv_out`, channels, 3, 3)
  c.conv('first_stage_model.quant_conv', 8, 8, 1)
  c.conv('first_stage_model.post_quant_conv', 4, 4, 1)
}

/** transformers CLIPTextModel, CLIP ViT-L/14's text tower. */
export function textEncoder(c, { hidden, intermediate, layers }, prefix = 'cond_stage_model.transformer.text_model.') {
  c.add(`${prefix}embeddings.position_ids`, [1, 77], 'arange', 'I64')
  c.add(`${prefix}embeddings.token_embedding.weight`, [49408, hidden], 'e')
  c.add(`${prefix}embeddings.position_embedding.weight`, [77, hidden], 'e')
  for (let i = 0; i < layers; i++) {
    const layer = `${prefix}encoder.layers.${i}`
    for (const part of ['k_proj', 'v_proj', 'q_proj', 'out_proj']) c.linear(`${layer}.self_attn.${part}`, hidden, hidden)
    c.norm(`${layer}.layer_norm1`, hidden)
    c.linear(`${layer}.mlp.fc1`, hidden, intermediate)
    c.linear(`${layer}.mlp.fc2`, intermediate, hidden)
    c.norm(`${layer}.layer_norm2`, hidden)
  }
  c.norm(`${prefix}final_layer_norm`, hidden)
}

/** Every tensor of the checkpoint as { key, shape, rule, dtype }. */
export function sd1Tensors(size) {
  const { unet: base, context, vae, text } = sizes[size]
  const c = new Collector()
  unet(c, base, context)
  autoencoder(c, vae)
  textEncoder(c, text)
  return c.tensors
}

/** The configuration in the reference's format; head counts and similar are not in the weights. */
export function sd1Config(size) {
  const { unet: base, context, vae, text } = sizes[size]
  const unetParams = {
    image_size: 32,
    in_channels: 4,
    out_channels: 4,
    model_channels: base,
    attention_resolutions: [4, 2, 1],
    num_res_blocks: 2,
    channel_mult: [1, 2, 4, 4],
  }
  Object.assign(unetParams, { num_heads: 8, use_spatial_transformer: true, transformer_depth: 1, context_dim: context, legacy: false })
  const ddconfig = {
    double_z: true,
    z_channels: 4,
    resolution: 256,
    in_channels: 3,
    out_ch: 3,
    ch: vae,
    ch_mult: [1, 2, 4, 4],
    num_res_blocks: 2,
    attn_resolutions: [],
    dropout: 0,
  }
  return {
    model: {
      target: 'ldm.models.diffusion.ddpm.LatentDiffusion',
      params: {
        linear_start: 0.00085,
        linear_end: 0.012,
        timesteps: 1000,
        image_size: 64,
        channels: 4,
        conditioning_key: 'crossattn',
        scale_factor: 0.18215,
        use_ema: false,
        unet_config: { target: 'ldm.modules.diffusionmodules.openaimodel.UNetModel', params: unetParams },
        first_stage_config: { target: 'ldm.models.autoencoder.AutoencoderKL', params: { embed_dim: 4, ddconfig } },
        cond_stage_config: { target: 'ldm.modules.encoders.modules.FrozenCLIPEmbedder' },
      },
    },
    text_encoder: {
      hidden_size: text.hidden,
      intermediate_size: text.intermediate,
      num_attention_heads: text.heads,
      num_hidden_layers: text.layers,
      hidden_act: 'quick_gelu',
      vocab_size: 49408,
      max_position_embeddings: 77,
      layer_norm_eps: 1e-5,
    },
  }
}

// ---- values ----------------------------------------------------------------------------------------------------------

function fnv1a(text) {
  let h = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193)
  return h >>> 0
}

/** The values of one tensor, float32. */
export function tensorValues({ key, shape, rule }) {
  const count = shape.reduce((a, b) => a * b, 1)
  const out = new Float32Array(count)
  const h = (fnv1a(key) ^ seed) >>> 0
  const factor = rule === 'w' ? scale.w * Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1)) : scale[rule]
  const offset = rule === 'n' ? 1 : 0
  for (let i = 0, state = h; i < count; i++, state = (state + 0x9e3779b9) | 0) {
    let x = state
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    out[i] = offset + (((x ^ (x >>> 16)) >>> 0) / 2147483648 - 1) * factor
  }
  return out
}

/** Float32 to IEEE half, round to nearest even. The weights here are far below the largest half. */
function toHalf(values) {
  const bits = new Uint32Array(values.buffer)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000
    const magnitude = bits[i] & 0x7fffffff
    // Below the smallest normal half the step is 2^-24: adding 0.5 rounds to it, and the low bits of the sum are the half.
    if (magnitude < 0x38800000) out[i] = sign | roundEven(Math.abs(values[i]) * 16777216)
    else out[i] = sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13)
  }
  return out
}

function roundEven(x) {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

function tensorBytes(tensor, type) {
  const array =
    tensor.rule === 'arange'
      ? BigInt64Array.from({ length: 77 }, (_, i) => BigInt(i))
      : type === 'f16'
        ? toHalf(tensorValues(tensor))
        : tensorValues(tensor)
  return new Uint8Array(array.buffer)
}

// ---- the file --------------------------------------------------------------------------------------------------------

/** Writes FILE (safetensors, tensor by tensor) and the configuration next to it as NAME.yaml. Returns the bytes written. */
export function writeSyntheticSd1(file, { size = 'tiny', type = 'f32' } = {}) {
  return writeCheckpoint(file, sd1Tensors(size), { type, title: `synthetic SD 1.x (${size})`, config: sd1Config(size) })
}

/** Writes tensors by formula, one at a time, and the configuration, if any, next to them. Returns the bytes written. */
export async function writeCheckpoint(file, tensors, { type, title, config }) {
  const header = { __metadata__: { format: 'pt', title: `${title}, weights by formula, no training` } }
  let offset = 0
  for (const { key, shape, dtype } of tensors) {
    const bytes = shape.reduce((a, b) => a * b, 1) * (dtype === 'I64' ? 8 : type === 'f16' ? 2 : 4)
    header[key] = { dtype: dtype === 'F32' && type === 'f16' ? 'F16' : dtype, shape, data_offsets: [offset, (offset += bytes)] }
  }
  const text = JSON.stringify(header)
  const json = Buffer.from(text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  await mkdir(path.dirname(file), { recursive: true })
  const handle = await open(`${file}.part`, 'w')
  try {
    await handle.writeFile(length)
    await handle.writeFile(json)
    for (const tensor of tensors) await handle.writeFile(tensorBytes(tensor, type))
  } finally {
    await handle.close()
  }
  await rename(`${file}.part`, file)
  // JSON is YAML.
  if (config) await writeFile(path.join(path.dirname(file), `${path.parse(file).name}.yaml`), `${JSON.stringify(config, null, 2)}\n`)
  return 8 + json.length + offset
}

async function generate(file, picture) {
  const { DiffusionPipeline } = await import('node-latent-diffusion')
  const pipe = await DiffusionPipeline.load(file)
  try {
    const { images, seed: used, timings } = await pipe.generate({ prompt: 'a lighthouse at dusk', width: 256, height: 256, steps: 20, seed: 42 })
    await mkdir(path.dirname(picture), { recursive: true })
    await images[0].save(picture)
    console.log(`${picture}: 256 x 256, 20 steps, seed ${used}, ${Math.round(timings.sampleMs)} ms of sampling`)
    console.log('It shows noise, because these weights come from a formula and are untrained. A trained checkpoint is used the same way.')
  } finally {
    await pipe.dispose()
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      size: { type: 'string', default: 'tiny' },
      type: { type: 'string', default: 'f32' },
      out: { type: 'string' },
      generate: { type: 'string' },
    },
  })
  if (!(values.size in sizes) || !['f32', 'f16'].includes(values.type)) {
    console.error('usage: synthetic-sd1.mjs [--size tiny|full] [--type f32|f16] [--out FILE] [--generate IMAGE]')
    process.exit(2)
  }
  const file = path.resolve(values.out ?? path.join('.cache', `synthetic-sd1-${values.size}.${values.type}.safetensors`))
  const bytes = await writeSyntheticSd1(file, values)
  console.log(`${path.relative(process.cwd(), file)}: ${(bytes / 1e6).toFixed(1)} MB, Stable Diffusion 1.x (${values.size}), weights by formula`)
  if (values.generate) await generate(file, path.resolve(values.generate))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
