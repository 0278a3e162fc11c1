#!/usr/bin/env node
/**
 * Writes an SDXL base checkpoint with weights from a formula, as synthetic-sd1.mjs does: correct names and shapes, but untrained. It is written tensor by tensor.
 *
 *   node scripts/synthetic-sdxl.mjs [--type f16|f32] [--out FILE]
 *
 * 6.9 GB in f16. For memory measurements, convert it: latent convert sdxl.safetensors sdxl-q8.gguf -t q8_0
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { pathToFileURL } from 'node:url'
import { attention, autoencoder, Collector, textEncoder, unetResBlock, writeCheckpoint } from './synthetic-sd1.mjs'

const base = 320
const embedding = 4 * base
const context = 2048
const vector = 2816
const levels = [
  { width: base, depth: 0 },
  { width: 2 * base, depth: 2 },
  { width: 4 * base, depth: 10 },
]

/** SpatialTransformer with linear projections and `depth` blocks. */
function transformer(c, key, channels, depth) {
  c.norm(`${key}.norm`, channels)
  c.linear(`${key}.proj_in`, channels, channels)
  for (let i = 0; i < depth; i++) {
    const block = `${key}.transformer_blocks.${i}`
    attention(c, `${block}.attn1`, channels, channels)
    c.linear(`${block}.ff.net.0.proj`, channels, channels * 8)
    c.linear(`${block}.ff.net.2`, channels * 4, channels)
    attention(c, `${block}.attn2`, channels, context)
    for (const n of [1, 2, 3]) c.norm(`${block}.norm${n}`, channels)
  }
  c.linear(`${key}.proj_out`, channels, channels)
}

/** sgm/modules/diffusionmodules/openaimodel.py UNetModel with SDXL's configuration. */
function unet(c) {
  const prefix = 'model.diffusion_model.'
  c.linear(`${prefix}time_embed.0`, base, embedding)
  c.linear(`${prefix}time_embed.2`, embedding, embedding)
  c.linear(`${prefix}label_emb.0.0`, vector, embedding)
  c.linear(`${prefix}label_emb.0.2`, embedding, embedding)
  c.conv(`${prefix}input_blocks.0.0`, 4, base, 3)
  const skips = [base]
  let channels = base
  let index = 1
  levels.forEach(({ width, depth }, level) => {
    for (let i = 0; i < 2; i++, index++) {
      unetResBlock(c, `${prefix}input_blocks.${index}.0`, channels, width, embedding)
      channels = width
      if (depth > 0) transformer(c, `${prefix}input_blocks.${index}.1`, channels, depth)
      skips.push(channels)
    }
    if (level === levels.length - 1) return
    c.conv(`${prefix}input_blocks.${index++}.0.op`, channels, channels, 3)
    skips.push(channels)
  })
  unetResBlock(c, `${prefix}middle_block.0`, channels, channels, embedding)
  transformer(c, `${prefix}middle_block.1`, channels, levels.at(-1).depth)
  unetResBlock(c, `${prefix}middle_block.2`, channels, channels, embedding)
  index = 0
  for (const [level, { width, depth }] of [...levels.entries()].reverse()) {
    for (let i = 0; i < 3; i++, index++) {
      unetResBlock(c, `${prefix}output_blocks.${index}.0`, channels + skips.pop(), width, embedding)
      channels = width
      if (depth > 0) transformer(c, `${prefix}output_blocks.${index}.1`, channels, depth)
      if (level > 0 && i === 2) c.conv(`${prefix}output_blocks.${index}.${depth > 0 ? 2 : 1}.conv`, channels, channels, 3)
    }
  }
  c.norm(`${prefix}out.0`, channels)
  c.conv(`${prefix}out.2`, channels, 4, 3)
}

/** open_clip's text tower of ViT-bigG-14. */
function openClip(c, prefix) {
  const width = 1280
  c.add(`${prefix}positional_embedding`, [77, width], 'e')
  c.add(`${prefix}text_projection`, [width, width], 'w')
  c.add(`${prefix}token_embedding.weight`, [49408, width], 'e')
  for (let i = 0; i < 32; i++) {
    const block = `${prefix}transformer.resblocks.${i}`
    c.norm(`${block}.ln_1`, width)
    c.add(`${block}.attn.in_proj_weight`, [3 * width, width], 'w')
    c.add(`${block}.attn.in_proj_bias`, [3 * width], 'b')
    c.linear(`${block}.attn.out_proj`, width, width)
    c.norm(`${block}.ln_2`, width)
    c.linear(`${block}.mlp.c_fc`, width, 4 * width)
    c.linear(`${block}.mlp.c_proj`, 4 * width, width)
  }
  c.norm(`${prefix}ln_final`, width)
}

/** Every tensor of the checkpoint as { key, shape, rule, dtype }. */
export function sdxlTensors() {
  const c = new Collector()
  unet(c)
  autoencoder(c, 128)
  textEncoder(c, { hidden: 768, intermediate: 3072, layers: 12 }, 'conditioner.embedders.0.transformer.text_model.')
  openClip(c, 'conditioner.embedders.1.model.')
  return c.tensors
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { type: { type: 'string', default: 'f16' }, out: { type: 'string', default: 'sdxl.safetensors' } } })
  const bytes = await writeCheckpoint(path.resolve(values.out), sdxlTensors(), { type: values.type, title: 'synthetic SDXL base' })
  console.log(`${values.out}: ${(bytes / 1e9).toFixed(2)} GB`)
}
