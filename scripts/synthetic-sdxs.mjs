#!/usr/bin/env node
/**
 * Writes a one-step model with the shapes of SDXS-512-DreamShaper (U-Net of 316 million parameters, CLIP ViT-L/14 text encoder) and a tiny autoencoder (TAESD)
 * next to it, with weights from a formula (see synthetic-sd1.mjs): untrained, for measuring time and memory.
 *
 *   node scripts/synthetic-sdxs.mjs [--type f32|f16] [--out FILE] [--time]
 *
 * --time loads the model three ways, and each time makes four images, from prompt to PNG. NAME.taesd.safetensors is the autoencoder.
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Collector, sizes, spatialTransformer, textEncoder, unetResBlock, writeCheckpoint } from './synthetic-sd1.mjs'

/** Three levels of one residual block, no middle block, no attention at the first level. */
function unet(c) {
  const prefix = 'model.diffusion_model.'
  const [base, context] = [320, 768]
  const widths = [base, base * 2, base * 4]
  c.linear(`${prefix}time_embed.0`, base, base * 4)
  c.linear(`${prefix}time_embed.2`, base * 4, base * 4)
  c.conv(`${prefix}input_blocks.0.0`, 4, base, 3)
  const skips = [base]
  let [channels, index] = [base, 1]
  widths.forEach((width, level) => {
    unetResBlock(c, `${prefix}input_blocks.${index}.0`, channels, width, base * 4)
    channels = width
    if (level > 0) spatialTransformer(c, `${prefix}input_blocks.${index}.1`, channels, context)
    skips.push(channels)
    index++
    if (level === 2) return
    c.conv(`${prefix}input_blocks.${index++}.0.op`, channels, channels, 3)
    skips.push(channels)
  })
  index = 0
  for (let level = 2; level >= 0; level--) {
    for (let i = 0; i < 2; i++, index++) {
      unetResBlock(c, `${prefix}output_blocks.${index}.0`, channels + skips.pop(), widths[level], base * 4)
      channels = widths[level]
      if (level > 0) spatialTransformer(c, `${prefix}output_blocks.${index}.1`, channels, context)
      if (level > 0 && i === 1) c.conv(`${prefix}output_blocks.${index}.2.conv`, channels, channels, 3)
    }
  }
  c.norm(`${prefix}out.0`, channels)
  c.conv(`${prefix}out.2`, channels, 4, 3)
}

/** madebyollin/taesd: numbers count activations and upsampling layers. */
function tinyAutoencoder(c) {
  const width = 64
  const plain = (key) => c.add(`${key}.weight`, [width, width, 3, 3], 'w')
  const block = (key) => [0, 2, 4].forEach((i) => c.conv(`${key}.conv.${i}`, width, width, 3))
  c.conv('encoder.0', 3, width, 3)
  block('encoder.1')
  for (let index = 2; index < 14; index += 4) {
    plain(`encoder.${index}`)
    for (const i of [1, 2, 3]) block(`encoder.${index + i}`)
  }
  c.conv('encoder.14', width, 4, 3)
  c.conv('decoder.1', 4, width, 3)
  for (let index = 3; index < 18; index += 5) {
    for (const i of [0, 1, 2]) block(`decoder.${index + i}`)
    plain(`decoder.${index + 4}`)
  }
  block('decoder.18')
  c.conv('decoder.19', width, 3, 3)
}

async function time(file, vae) {
  const { DiffusionPipeline, measurePeak } = await import('node-latent-diffusion')
  for (const { instructions, format, gflops } of await measurePeak()) console.log(`peak ${instructions} ${format}: ${gflops.toFixed(0)} GFLOP/s`)
  await timeImages(DiffusionPipeline, { model: file, vae }, {})
  await timeImages(DiffusionPipeline, { model: file, vae }, { memory: 'fast' })
  await timeImages(DiffusionPipeline, { model: file, vae }, { memory: 'fast', dtype: { unet: 'int8', vae: 'int8' } })
}

async function timeImages(DiffusionPipeline, source, options) {
  const began = performance.now()
  const pipe = await DiffusionPipeline.load(source, options)
  console.log(`${JSON.stringify(options)}: loaded in ${(performance.now() - began).toFixed(0)} ms`)
  try {
    for (const [i, prompt] of ['a lighthouse at dusk', 'a harbour in the morning', 'a mill by a river', 'a bridge in the rain'].entries()) {
      const start = performance.now()
      const { images, timings } = await pipe.generate({ prompt, width: 512, height: 512, seed: i })
      const png = await images[0].encode('png')
      const parts = Object.entries(timings).map(([name, ms]) => `${name} ${typeof ms === 'number' ? ms.toFixed(0) : ''}`)
      console.log(`image ${i + 1}: ${(performance.now() - start).toFixed(0)} ms from prompt to PNG (${png.length} bytes); ${parts.join(', ')}`)
    }
  } finally {
    await pipe.dispose()
  }
}

const { values } = parseArgs({
  options: { type: { type: 'string', default: 'f16' }, out: { type: 'string' }, time: { type: 'boolean', default: false } },
})
if (!['f32', 'f16'].includes(values.type)) {
  console.error('usage: synthetic-sdxs.mjs [--type f32|f16] [--out FILE] [--time]')
  process.exit(2)
}
const file = path.resolve(values.out ?? path.join('.cache', `synthetic-sdxs.${values.type}.safetensors`))
const vae = path.join(path.dirname(file), `${path.parse(file).name}.taesd.safetensors`)
const model = new Collector()
unet(model)
textEncoder(model, sizes.full.text)
const tiny = new Collector()
tinyAutoencoder(tiny)
const bytes = await writeCheckpoint(file, model.tensors, { type: values.type, title: 'synthetic SDXS' })
await writeCheckpoint(vae, tiny.tensors, { type: values.type, title: 'synthetic TAESD' })
console.log(`${path.relative(process.cwd(), file)}: ${(bytes / 1e6).toFixed(1)} MB, SDXS-512-DreamShaper's shapes, weights by formula`)
if (values.time) await time(file, vae)
