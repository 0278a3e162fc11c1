import { DiffusionPipeline, estimateMemory, measurePeak, type Peak } from '../index.js'
import { readFlags, toJson, UsageError, type Command, type Flags, type Io } from './command.js'
import { loadFlags, readLoadOptions, readSource } from './model-flags.js'

const flags = {
  ...loadFlags,
  width: { kind: 'number', help: "pixels; default: the model's" },
  height: { kind: 'number', help: "pixels; default: the model's" },
  repeats: { kind: 'number', help: 'network steps that are timed; the median counts (default 3)' },
  json: { kind: 'switch', help: 'as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

/** One timed stage. */
interface Row {
  stage: string
  ms: number
  gflop?: number
  gflops?: number
  /** Share of the machine's peak in `peakFormat`, measured in the same run. */
  ofPeak?: number
  peakFormat?: string
}

interface Report {
  model: string
  device: string
  precision: string
  width: number
  height: number
  peak: Peak[]
  stages: Row[]
  peakRssBytes: number
}

async function timed<T>(action: () => Promise<T>): Promise<[ms: number, result: T]> {
  const began = performance.now()
  const result = await action()
  return [performance.now() - began, result]
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

function row(stage: string, ms: number, flops: number | undefined, peak: Peak | undefined): Row {
  if (!flops) return { stage, ms }
  const gflops = flops / 1e6 / ms
  return { stage, ms, gflop: flops / 1e9, gflops, ...(peak && peak.gflops > 0 ? { ofPeak: gflops / peak.gflops, peakFormat: peak.format } : {}) }
}

/** The peak that the networks can reach: that of 16-bit products in fast mode where the processor has them and the kernels are not forced down. */
function reachable(peaks: Peak[], precision: string): Peak | undefined {
  const forced = process.env.LATENT_KERNELS
  const half = precision === 'fast' && process.env.LATENT_OPS !== 'portable' && (!forced || forced === 'avx512_bf16')
  return (half ? peaks.find(({ format }) => format === 'bf16') : undefined) ?? peaks.find(({ format }) => format === 'f32')
}

async function measure(values: ReturnType<typeof readFlags<typeof flags>>['values'], model: string | undefined, { signal }: Io): Promise<Report> {
  const source = readSource(values, model)
  const load = { ...readLoadOptions(values), signal }
  const size = { ...(values.width === undefined ? {} : { width: values.width }), ...(values.height === undefined ? {} : { height: values.height }) }
  const estimate = await estimateMemory(source, { ...load, ...size })
  const peak = await measurePeak({ signal, ...(values.threads === undefined ? {} : { threads: values.threads }) })
  const [loadMs, pipe] = await timed(() => DiffusionPipeline.load(source, load))
  await using held = pipe
  const f32 = peak.find(({ format }) => format === 'f32') // text encoders stay in float32
  const best = reachable(peak, held.info.precision)
  const [textMs, conditioning] = await timed(() => held.encodePrompt('', { signal }))
  const { width, height } = estimate
  const latents = held.createLatents({ width, height, seed: 0 })
  const guided = { timestep: 500, conditioning, unconditional: conditioning, guidanceScale: 7.5, signal }
  const stepMs: number[] = []
  // The first step builds the graph.
  for (let i = 0; i <= (values.repeats ?? 3); i++) {
    const [ms, out] = await timed(() => held.predict(latents, guided))
    out.dispose()
    stepMs.push(ms)
  }
  const [decodeMs] = await timed(() => held.decode(latents, { output: 'float', signal }))
  return {
    model: held.info.name,
    device: held.device.name,
    precision: held.info.precision,
    width,
    height,
    peak,
    stages: [
      { stage: 'load', ms: loadMs },
      row('text encoder', textMs, estimate.textEncoder?.flops, f32),
      { stage: 'first step', ms: stepMs[0]! },
      row('step', median(stepMs.slice(1)), estimate.unet?.flops, best),
      row('decode', decodeMs, estimate.decode?.flops, best),
    ],
    peakRssBytes: held.memoryUsage().processPeak,
  }
}

function render({ model, device, precision, width, height, peak, stages, peakRssBytes }: Report): string {
  const line = ({ stage, ms, gflop, gflops, ofPeak, peakFormat }: Row) => {
    const work = gflop === undefined ? '' : `${gflop.toFixed(1).padStart(9)} GFLOP ${gflops!.toFixed(1).padStart(8)} GFLOP/s`
    return `  ${stage.padEnd(14)}${ms.toFixed(1).padStart(10)} ms${work}${ofPeak === undefined ? '' : `  ${(100 * ofPeak).toFixed(0)}% of the ${peakFormat} peak`}`
  }
  return [
    `${model}, ${width}x${height}, ${precision}, guided (batch 2), on ${device}`,
    ...peak.map(({ format, instructions, gflops }) => `  peak ${format.padEnd(9)}${gflops.toFixed(0).padStart(10)} GFLOP/s (${instructions})`),
    ...stages.map(line),
    `  peak memory   ${(peakRssBytes / 1e6).toFixed(0).padStart(10)} MB resident`,
    '',
  ].join('\n')
}

export const benchCommand: Command = {
  name: 'bench',
  summary: 'time loading, a network step and the decoder, against the peak of this machine',
  usage: '[MODEL] [--width N] [--height N] [--repeats N]',
  flags,
  notes: 'One guided step is one evaluation of the network at batch 2. The peak is measured in the same run, with multiply-adds alone.',
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one MODEL' })
    if (values.repeats !== undefined && !(Number.isInteger(values.repeats) && values.repeats > 0))
      throw new UsageError('--repeats takes a positive whole number')
    const report = await measure(values, positionals[0], io)
    io.stdout.write(values.json ? toJson(report) : render(report))
  },
}
