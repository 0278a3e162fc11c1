import { estimateMemory, type StageEstimate } from '../index.js'
import { estimateOptions } from '../options/estimate.js'
import { flagsOf } from '../options/flags.js'
import { pick } from '../options/option.js'
import { readFlags, readOptionFlags, toJson, type Command, type Flags } from './command.js'
import { loadFlags, loraFlags, readLoadOptions, readSource, sizeFlags } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...loadFlags,
  lora: loraFlags.lora,
  ...sizeFlags,
  ...flagsOf(pick(estimateOptions, 'guidanceScale', 'imageGuidanceScale', 'preview')),
  json: { kind: 'switch', help: 'print JSON, in bytes' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0).padStart(7)} MB`

export const estimateCommand: Command = {
  name: 'estimate',
  summary: 'estimate the memory for an image, without loading the model',
  usage: '[MODEL] [--width N] [--height N]',
  flags,
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one MODEL' })
    const bar = progressBar(io)
    const hooks = { signal: io.signal, onProgress: bar.update }
    const request = {
      ...readLoadOptions(values),
      ...readOptionFlags(pick(estimateOptions, 'width', 'height', 'guidanceScale', 'imageGuidanceScale', 'loras', 'preview'), values),
      ...hooks,
    }
    const estimate = await estimateMemory(readSource(values, positionals[0]), request).finally(bar.clear)
    if (values.json) {
      io.stdout.write(toJson(estimate))
      return
    }
    const stage = (name: string, work: StageEstimate | undefined) =>
      work ? [`  ${name.padEnd(20)}${megabytes(work.bytes)}   ${(work.flops / 1e9).toFixed(1)} GFLOP`] : []
    const lines = [
      `${estimate.width}x${estimate.height}`,
      ...Object.entries(estimate.weights).map(([name, { bytes }]) => `  ${`${name} weights`.padEnd(20)}${megabytes(bytes)}`),
      ...stage('text encoder', estimate.textEncoder),
      ...stage('conditioner', estimate.conditioner),
      ...stage('image encoder', estimate.imageEncoder),
      ...stage('one network step', estimate.unet),
      ...stage('one refiner step', estimate.refiner),
      ...stage('encoding an image', estimate.encode),
      ...stage('decoding an image', estimate.decode),
      ...Object.entries(estimate.stages).map(([name, { peak }]) => `  ${`peak, ${name}`.padEnd(20)}${megabytes(peak)}`),
      `  ${'peak'.padEnd(20)}${megabytes(estimate.peakBytes)}   (memory low: ${megabytes(estimate.lowPeakBytes).trim()})`,
      ...(estimate.floorBytes > 0
        ? [`  ${'smallest limit'.padEnd(20)}${megabytes(estimate.floorBytes)}   (--max-bytes ${estimate.floorBytes})`]
        : []),
    ]
    io.stdout.write(`${lines.join('\n')}\n`)
  },
}
