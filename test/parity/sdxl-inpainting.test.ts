/**
 * SDXL's inpainting U-Net has five more input channels (the mask and the code of the masked image), that of InstructPix2Pix four (the code of the image). With weights
 * of zero for them they are the base model, which is held against its reference elsewhere; with others, image and mask steer them.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { DiffusionPipeline, inspect, RawImage, type LoadOptions } from '../../lib/index'
import { maxDifference, uniform } from '../helpers/golden'
import { goldenModel } from '../helpers/model'

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>
const first = 'model.diffusion_model.input_blocks.0.0.weight'
const size = { width: 64, height: 64 }

/** A safetensors file whose first convolution reads `channels`; `fill` gives the weights of the new ones. */
function widen(file: string, target: string, fill: (i: number) => number, channels = 9): void {
  const bytes = readFileSync(file)
  const data = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, data)) as Header
  const { shape, data_offsets } = header[first]!
  const [out, own] = shape as [number, number]
  const old = new Float32Array(new Uint8Array(bytes.subarray(data + data_offsets[0], data + data_offsets[1])).buffer)
  const wide = Float32Array.from({ length: out * channels * 9 }, (_, i) => {
    const [row, at] = [Math.floor(i / (9 * channels)), i % (9 * channels)]
    return at < own * 9 ? old[row * own * 9 + at]! : fill(i)
  })
  const end = Math.max(...Object.values(header).map((entry) => entry.data_offsets?.[1] ?? 0))
  header[first] = {
    dtype: 'F32',
    shape: [out, channels, 3, 3],
    data_offsets: [end - (data_offsets[1] - data_offsets[0]), end - (data_offsets[1] - data_offsets[0]) + wide.byteLength],
  }
  // Without the old weights: what stood behind them moves up.
  const gap = data_offsets[1] - data_offsets[0]
  for (const [name, entry] of Object.entries(header))
    if (name !== first && entry.data_offsets && entry.data_offsets[0] >= data_offsets[1])
      entry.data_offsets = [entry.data_offsets[0] - gap, entry.data_offsets[1] - gap]
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const rest = [bytes.subarray(data, data + data_offsets[0]), bytes.subarray(data + data_offsets[1], data + end)]
  writeFileSync(target, Buffer.concat([length, text, ...rest, Buffer.from(wide.buffer)]))
}

test('nine input channels: latents, mask and masked image, with prompt and sizes', async () => {
  const model = goldenModel('sdxl-base', 'compvis')
  try {
    const config = structuredClone(model.golden.config)
    const options: LoadOptions = { precision: 'exact', device: 'cpu', config }
    await using base = await DiffusionPipeline.load(model.file, options)
    config.model.params.network_config.params.in_channels = 9
    const spec = { kind: 'inpaint', conditioningKey: 'hybrid' } as const
    const [zeros, others] = [`${model.file}.zeros.safetensors`, `${model.file}.others.safetensors`]
    widen(model.file, zeros, () => 0)
    const values = uniform('inpainting', 7, 1 << 16)
    widen(model.file, others, (i) => values[i]! * 0.3)
    expect((await inspect(zeros, { config, spec })).spec).toMatchObject({ kind: 'inpaint', family: 'sdxl', unet: { inChannels: 9 } })

    await using plain = await DiffusionPipeline.load(zeros, { ...options, spec, kind: 'inpaint' })
    await using steered = await DiffusionPipeline.load(others, { ...options, spec, kind: 'inpaint' })
    expect(plain.info.condition).toMatchObject({ sizes: 'base', zeroNegative: true })
    const image = (light: number) => new RawImage({ data: new Uint8Array(64 * 64 * 3).map((_, i) => (i * light) & 255), ...size, channels: 3 })
    const mask = new RawImage({ data: new Uint8Array(64 * 64).map((_, i) => (i % 64 < 32 ? 255 : 0)), ...size, channels: 1 })
    const run = { prompt: 'a lighthouse', negativePrompt: 'a red sky', steps: 2, sampler: 'euler', eta: 0, guidanceScale: 5, seed: 3, mask } as const
    const drawn = (await base.generate({ ...run, mask: undefined, ...size })).images[0]!
    const own = (await plain.generate({ ...run, image: image(7) })).images[0]!
    const left = (data: Uint8Array) => data.filter((_, i) => i % (64 * 3) < 32 * 3)
    const right = (data: Uint8Array) => data.filter((_, i) => i % (64 * 3) >= 32 * 3)
    expect(maxDifference(left(own.data), left(drawn.data))).toBeLessThanOrEqual(1)
    expect(right(own.data)).toEqual(right(image(7).data))
    const [one, two] = [
      (await steered.generate({ ...run, image: image(7) })).images[0]!,
      (await steered.generate({ ...run, image: image(9) })).images[0]!,
    ]
    expect(left(one.data)).not.toEqual(left(two.data))
    expect(left(one.data)).not.toEqual(left(own.data))
    const sized = await steered.generate({ ...run, image: image(7), sizes: { original: { width: 16, height: 16 } } })
    expect(left(sized.images[0]!.data)).not.toEqual(left(one.data))
  } finally {
    model.remove()
  }
})

test('eight input channels: InstructPix2Pix, with prompt, image and sizes', async () => {
  const model = goldenModel('sdxl-base', 'compvis')
  try {
    const config = structuredClone(model.golden.config)
    const options: LoadOptions = { precision: 'exact', device: 'cpu', config }
    await using base = await DiffusionPipeline.load(model.file, options)
    config.model.params.network_config.params.in_channels = 8
    const spec = { kind: 'edit', conditioningKey: 'hybrid' } as const
    const [zeros, others] = [`${model.file}.zeros.safetensors`, `${model.file}.others.safetensors`]
    widen(model.file, zeros, () => 0, 8)
    const values = uniform('editing', 7, 1 << 16)
    widen(model.file, others, (i) => values[i]! * 0.3, 8)

    await using plain = await DiffusionPipeline.load(zeros, { ...options, spec, kind: 'edit' })
    await using steered = await DiffusionPipeline.load(others, { ...options, spec, kind: 'edit' })
    expect(plain.info.condition).toMatchObject({ sizes: 'base' })
    const image = (light: number) => new RawImage({ data: new Uint8Array(64 * 64 * 3).map((_, i) => (i * light) & 255), ...size, channels: 3 })
    const run = { prompt: 'a lighthouse', negativePrompt: 'a red sky', steps: 2, sampler: 'euler', eta: 0, guidanceScale: 5, seed: 3 } as const
    const drawn = (await base.generate({ ...run, ...size })).images[0]!
    const edit = (pipe: typeof plain, light: number, more = {}) =>
      pipe.generate({ ...run, image: image(light), imageGuidanceScale: 1.5, ...more }).then(({ images }) => images[0]!.data)
    expect(maxDifference(await edit(plain, 7), drawn.data)).toBeLessThanOrEqual(1)
    const one = await edit(steered, 7)
    expect(one).not.toEqual(await edit(steered, 9))
    expect(one).not.toEqual(await edit(steered, 7, { imageGuidanceScale: 3 }))
    expect(one).not.toEqual(await edit(steered, 7, { sizes: { original: { width: 16, height: 16 } } }))
  } finally {
    model.remove()
  }
})
