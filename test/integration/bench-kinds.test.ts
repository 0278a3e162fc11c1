/** What `latent bench` times, on models of every kind: a step as generate() makes it, whose operations do the work that the report states. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, estimateMemory, type OperationTime } from '../../lib/index'
import { encoderOf, prepareStep, type BenchStepOptions } from '../../lib/cli/bench-step'
import { cli } from '../helpers/cli'
import { goldenModel } from '../helpers/model'

const wide = { width: 64, height: 32 }
const square = { width: 64, height: 64 }

interface Case {
  golden: string
  options?: BenchStepOptions
  /** The part that reads something other than images. */
  encoder?: 'textEncoder' | 'conditioner'
  evaluations: number
}

const cases: Case[] = [
  { golden: 'sd1', encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sd1', options: { ...square, guidanceScale: 1 }, encoder: 'textEncoder', evaluations: 1 },
  { golden: 'sd1-inpaint', encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sd1-pix2pix', encoder: 'textEncoder', evaluations: 3 },
  { golden: 'sd1-pix2pix', options: { ...square, imageGuidanceScale: 1 }, encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sd1-pix2pix', options: { ...square, guidanceScale: 2, imageGuidanceScale: 2 }, encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sd1-pix2pix', options: { ...square, guidanceScale: 1, imageGuidanceScale: 2 }, encoder: 'textEncoder', evaluations: 3 },
  { golden: 'sd2-depth', encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sd-x4-upscaler', options: wide, encoder: 'textEncoder', evaluations: 2 },
  { golden: 'sdxl-base', encoder: 'textEncoder', evaluations: 2 },
  { golden: 'ldm-txt2img', options: wide, encoder: 'textEncoder', evaluations: 2 },
  { golden: 'ldm-uncond', options: wide, evaluations: 1 },
  { golden: 'ldm-cin256-v2', options: wide, encoder: 'conditioner', evaluations: 2 },
  { golden: 'ldm-layout2img', options: wide, encoder: 'textEncoder', evaluations: 1 },
  { golden: 'ldm-semantic', options: wide, encoder: 'conditioner', evaluations: 1 },
  { golden: 'ldm-sr', options: wide, evaluations: 1 },
  { golden: 'ldm-inpaint-big', options: wide, evaluations: 1 },
  { golden: 'ldm-rdm', options: { width: 128, height: 128 }, evaluations: 2 },
]

test.each(cases)('$golden $options', async ({ golden, options = square, encoder, evaluations }) => {
  const model = goldenModel(golden)
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    const estimate = await estimateMemory(model.file, { ...options, device: 'cpu' })
    await using pipe = await DiffusionPipeline.load(model.file, { device: 'cpu' })
    const encode = encoderOf(pipe, options)
    expect(encode !== undefined).toBe(encoder !== undefined)
    ;(await encode?.())?.dispose()
    if (encoder) expect(estimate[encoder]).toBeDefined() // bench divides its work by the time
    using latents = await pipe.createLatents({ width: options.width, height: options.height, seed: 0 })
    const step = await prepareStep(pipe, latents, options)
    expect(step.evaluations).toBe(evaluations)
    const evaluate = async () => (await step.evaluate()).dispose()
    await evaluate() // computes keys and values of the condition, which count only once in a run
    const operations = await pipe.profile(evaluate)
    const share = operations.reduce((sum, { gflop }) => sum + gflop, 0) / (estimate.unet!.flops / 1e9)
    expect(share).toBeGreaterThan(0.85) // small operations are not counted
    expect(share).toBeLessThan(1.05)
  } finally {
    model.remove()
  }
})

test('in int8, scores of self-attention are 8-bit products, those of a prompt are not', async () => {
  const { code, stdout, stderr } = await cli(['bench', '--kernels', 'portable', '--dtype', 'int8', '--repeats', '1', '--profile', '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const operations: string[] = JSON.parse(stdout).operations.step.map(({ operation }: OperationTime) => operation)
  expect(operations.filter((name) => name.startsWith('attention')).sort()).toEqual([
    'attention 4x32 16 on 77',
    'attention 4x32 64 on 77',
    'attention int8 4x32 16 on 16',
    'attention int8 4x32 64 on 64',
  ])
})
