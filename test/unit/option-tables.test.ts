import { readFileSync } from 'node:fs'
import path from 'node:path'
import { resolveGenerate } from '../../lib/api/generate-options'
import { convertCommand } from '../../lib/cli/convert'
import { readFlags, readOptionFlags, type Flags } from '../../lib/cli/command'
import { estimateCommand } from '../../lib/cli/estimate'
import { generateCommand } from '../../lib/cli/generate'
import { verifyCommand } from '../../lib/cli/models'
import { pullCommand } from '../../lib/cli/pull'
import { upscaleCommand } from '../../lib/cli/upscale'
import { inputOptions, negativeOptions, refinerOptions, startOptions } from '../../lib/kinds/input-options'
import { notNative } from '../../lib/options/common'
import { convertOptions } from '../../lib/options/convert'
import { flagsOf, kebabCase } from '../../lib/options/flags'
import { estimateOptions } from '../../lib/options/estimate'
import { generateOptions, previewOptions } from '../../lib/options/generate'
import { hubOptions, pullOptions, verifyOptions } from '../../lib/options/hub'
import { Autoencoder, ImageEncoder } from '../../lib/index'
import { loadOptions, memoryOptions, resolveLoad } from '../../lib/options/load'
import { infotextFields, type OptionTable } from '../../lib/options/option'
import { samplingOptions } from '../../lib/options/sampling'
import type { AnyResolvedOptions, PipelineInfo } from '../../lib/types'
import { cli } from '../helpers/cli'

const tables: Record<string, OptionTable> = {
  sampling: samplingOptions,
  generate: generateOptions,
  inputs: inputOptions,
  start: startOptions,
  negative: negativeOptions,
  refiner: refinerOptions,
  load: loadOptions,
  memory: memoryOptions,
  convert: convertOptions,
  preview: previewOptions,
  estimate: estimateOptions,
  hub: hubOptions,
  pull: pullOptions,
  verify: verifyOptions,
}
const rows = Object.entries(tables).flatMap(([name, table]) => Object.entries(table).map(([key, row]) => [`${name}.${key}`, key, row] as const))
const commands: { name: string; flags: Flags }[] = [generateCommand, upscaleCommand, convertCommand, estimateCommand, pullCommand, verifyCommand]

const info = {
  kind: 'text',
  name: 'a model',
  condition: { guidance: true },
  spec: { conditioners: [{ kind: 'clip_text' }] },
  defaults: { width: 512, height: 512, steps: 50, sampler: 'ddim', guidanceScale: 7.5, imageGuidanceScale: 1.5 },
  samplers: ['ddim', 'euler'],
  schedules: ['normal', 'karras', 'trailing'],
  sizeMultiple: 64,
} as unknown as PipelineInfo

/** A text for the flag of each option that is sampled with, and what it comes to at the engine's door. */
const samples: Record<keyof typeof samplingOptions, [text: string, request: Record<string, unknown>, infotext: Record<string, unknown>]> = {
  preset: [
    'lightning-4',
    { sampler: 'euler', schedule: 'trailing', steps: 4, guidanceScale: 1 },
    { Preset: 'lightning-4', Steps: 4, 'CFG scale': 1 },
  ],
  steps: ['7', { steps: 7 }, { Steps: 7 }],
  seed: ['18446744073709551615', { seed: '18446744073709551615' }, { Seed: 2n ** 64n - 1n }],
  sampler: ['euler', { sampler: 'euler' }, { Sampler: 'Euler' }],
  schedule: ['karras', { schedule: 'karras' }, { 'Schedule type': 'Karras' }],
  timesteps: ['999,499', { timesteps: [999, 499], steps: 2 }, { Timesteps: '999 499' }],
  dialect: ['diffusers', { dialect: 'diffusers' }, { Dialect: 'diffusers' }],
  eta: ['0.5', { eta: 0.5 }, { 'Eta DDIM': 0.5 }],
  guidanceScale: ['3.5', { guidanceScale: 3.5 }, { 'CFG scale': 3.5 }],
  imageGuidanceScale: ['1.2', { imageGuidanceScale: 1.2 }, { 'Image CFG scale': 1.2 }],
  guidanceRescale: ['0.7', { guidanceRescale: 0.7 }, { 'CFG Rescale phi': 0.7 }],
  guidanceInterval: ['0.1,0.8', { guidanceInterval: [0.1, 0.8] }, { 'Guidance interval': '0.1 0.8' }],
  deepCache: ['3,1', { deepCache: { interval: 3, branch: 1 } }, { DeepCache: '3 1' }],
  rng: ['mt19937', { rng: 'mt19937' }, { RNG: 'CPU' }],
  extra: [
    's_churn=10,disable_corrector=true,solver_type=midpoint',
    { extra: { s_churn: 10, disable_corrector: true, solver_type: 'midpoint' } },
    { 'Solver parameters': '{"s_churn":10,"disable_corrector":true,"solver_type":"midpoint"}' },
  ],
}

test.each(rows)('%s has a flag, or a reason for having none', (_, key, { flag }) => {
  if (typeof flag === 'string') {
    expect(flag).toMatch(/\w+ \w+|^--[\w-]+/)
    return
  }
  const name = flag.name ?? kebabCase(key)
  const having = commands.filter(({ flags }) => name in flags)
  expect(having).not.toEqual([])
})

test.each(commands.map((command) => [command.name, command] as const))('every flag of %s is in its help', async (name, { flags }) => {
  const { stdout } = await cli([name, '--help'])
  for (const [flag, { help }] of Object.entries(flags)) {
    const line = stdout.split('\n').find((one) => new RegExp(`^ .*--${flag}( |$)`).test(one))
    expect(line).toContain(help)
  }
})

test.each(Object.entries(samples))('--%s reaches the engine and the settings of the image', (key, [text, request, settings]) => {
  const flags = flagsOf(samplingOptions)
  const { values } = readFlags(flags, [`--${kebabCase(key)}`, text], { min: 0, max: 0, names: 'flags' })
  const resolved = resolveGenerate(readOptionFlags(samplingOptions, values), info).sampling
  expect(resolved.request).toMatchObject(request)
  const options = resolved.values as unknown as AnyResolvedOptions
  expect(infotextFields(samplingOptions, options, info)).toMatchObject(settings)
})

describe('the engine reads every field of the request', () => {
  const source = readFileSync(path.join(__dirname, '../../native/bindings/requests.cpp'), 'utf8')
  const isRead = (field: string) => expect(source.includes(`"${field}"`) || ['seed', 'rng'].includes(field)).toBe(true)

  test.each(Object.keys(samples))('sampling: %s', (key) => {
    for (const field of Object.keys(samples[key as keyof typeof samples][1])) isRead(field)
  })

  test('loading', () => {
    const { request } = resolveLoad(
      {
        device: 'cpu',
        dtype: 'f16',
        threads: 2,
        ema: true,
        variant: 'fp16',
        spec: {},
        memory: { mode: 'low', maxBytes: 9, vaeTiling: { tileSize: 32 }, tileSize: 64 },
      },
      'load()',
    )
    // TypeScript keeps the others for itself; the configuration crosses with the files.
    const crossing = Object.entries(loadOptions).filter(([, row]) => !('toNative' in row && row.toNative === notNative))
    expect(Object.keys(request).sort()).toEqual(crossing.map(([key]) => key).sort())
    for (const field of [...Object.keys(request), ...Object.keys(request.memory)]) isRead(field)
  })
})

test.each([
  ['Autoencoder.load()', (options: object) => Autoencoder.load(undefined, options)],
  ['ImageEncoder.load()', (options: object) => ImageEncoder.load('clip.safetensors', options)],
])('%s reads no prompts, and takes no adapters or embeddings for them', async (_name, load) => {
  for (const option of [{ loraDirectory: '.' }, { embeddings: ['ink.pt'] }, { embeddingDirectory: '.' }])
    await expect(load(option)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringContaining(Object.keys(option)[0]!) as string })
})
