import { DiffusionPipeline, estimateMemory, getVersions, measurePeak, type OperationTime, type Peak } from '../index.js'
import { readFlags, sameOptions, toJson, UsageError, type Command, type Flags, type Io } from './command.js'
import { loadFlags, readLoadOptions, readSource, sizeFlags } from './model-flags.js'

const flags = {
  ...loadFlags,
  ...sizeFlags,
  repeats: { kind: 'number', help: 'network steps that are timed; the median counts (default 3)' },
  profile: { kind: 'switch', help: 'also what each operation of a step and of the decoder takes' },
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
  /** When it was made, ISO 8601. */
  date: string
  /** Of this package. */
  version: string
  model: string
  kind: string
  /** Of the files: `compvis`, `diffusers`, `gguf` ... */
  layout: string
  /** Weight types in memory, by part. */
  dtypes: Record<string, string>
  device: string
  threads: number
  precision: string
  /** What the environment forces: `avx2` (LATENT_KERNELS), `portable` (LATENT_OPS). */
  kernels?: string
  width: number
  height: number
  peak: Peak[]
  stages: Row[]
  /** With --profile: of one step and one decoding. */
  operations?: Record<'step' | 'decode', OperationTime[]>
  /** Up to the decoded picture: image to image, which encodes too, may take more. */
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

/** What LATENT_KERNELS orders, per architecture (native/kernels/tile.h). */
const kernels = [
  ['portable', 'avx2', 'avx_vnni', 'avx512', 'avx512_bf16', 'avx512_vnni'],
  ['portable', 'neon', 'neon_dotprod', 'neon_bf16', 'neon_i8mm'],
]

/** Whether LATENT_KERNELS lets a set of this name be used. */
function allowed(instructions: string): boolean {
  const forced = process.env.LATENT_KERNELS
  const order = kernels.find((names) => names.includes(instructions))
  return !forced || !order?.includes(forced) || order.indexOf(instructions) <= order.indexOf(forced)
}

/** The peak that a network can reach: that of its arithmetic, in fast mode where the processor has it and the kernels are not forced down. */
function reachable(peaks: Peak[], precision: string, dtype: string | undefined): Peak | undefined {
  const fast = precision === 'fast' && process.env.LATENT_OPS !== 'portable'
  const best = (wanted: string) => peaks.find(({ format, instructions }) => format === wanted && allowed(instructions))
  return (
    (fast && dtype === 'int8' ? best('int8') : undefined) ??
    (fast ? best('bf16') : undefined) ??
    best('f32') ??
    peaks.find(({ format }) => format === 'f32')
  )
}

async function measure(values: ReturnType<typeof readFlags<typeof flags>>['values'], model: string | undefined, { signal }: Io): Promise<Report> {
  const source = readSource(values, model)
  const load = { ...readLoadOptions(values), signal }
  const estimate = await estimateMemory(source, { ...load, ...sameOptions(values, ['width', 'height']) })
  const peak = await measurePeak({ signal, ...sameOptions(values, ['threads']) })
  const [loadMs, pipe] = await timed(() => DiffusionPipeline.load(source, load))
  await using held = pipe
  const f32 = peak.find(({ format }) => format === 'f32') // text encoders stay in float32
  const best = (part: 'unet' | 'vae') => reachable(peak, held.info.precision, held.info.dtypes[part])
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
  const [decodeMs, picture] = await timed(() => held.decode(latents, { output: 'float', signal }))
  const peakRssBytes = held.memoryUsage().processPeak // of what every picture needs
  const [encodeMs, encoded] = await timed(() => held.encodeImage({ data: picture, shape: [1, 3, height, width] }, { signal }))
  encoded.dispose()
  const operations = values.profile
    ? {
        step: await held.profile(async () => (await held.predict(latents, guided)).dispose()),
        decode: await held.profile(() => held.decode(latents, { output: 'float', signal })),
      }
    : undefined
  const { version, cpu } = getVersions()
  const { info } = held
  const forced = [process.env.LATENT_OPS, process.env.LATENT_KERNELS].filter(Boolean).join(' ')
  return {
    date: new Date().toISOString(),
    version,
    model: info.name,
    kind: info.kind,
    layout: info.spec.layout,
    dtypes: info.dtypes,
    device: held.device.name,
    threads: values.threads ?? cpu.cores,
    precision: info.precision,
    ...(forced ? { kernels: forced } : {}),
    width,
    height,
    peak,
    stages: [
      { stage: 'load', ms: loadMs },
      row('text encoder', textMs, estimate.textEncoder?.flops, f32),
      { stage: 'first step', ms: stepMs[0]! },
      row('step', median(stepMs.slice(1)), estimate.unet?.flops, best('unet')),
      row('decode', decodeMs, estimate.decode?.flops, best('vae')),
      row('encode', encodeMs, estimate.encode?.flops, best('vae')),
    ],
    ...(operations ? { operations } : {}),
    peakRssBytes,
  }
}

/** The operations that take the most, down to a thousandth of the whole. */
function table(title: string, operations: OperationTime[]): string[] {
  const total = operations.reduce((sum, { ms }) => sum + ms, 0)
  return [
    `  ${title}, by operation:`,
    ...operations
      .filter(({ ms }) => ms >= total / 1000)
      .map(({ operation, calls, ms, gflop }) => {
        const rate = gflop > 0 ? `${((1000 * gflop) / ms).toFixed(0)} GFLOP/s` : ''
        return `  ${ms.toFixed(1).padStart(10)} ms ${((100 * ms) / total).toFixed(1).padStart(5)}% ${String(calls).padStart(4)} x  ${operation.padEnd(38)}${rate.padStart(14)}`
      }),
  ]
}

function render({ model, device, precision, width, height, peak, stages, operations, peakRssBytes }: Report): string {
  const line = ({ stage, ms, gflop, gflops, ofPeak, peakFormat }: Row) => {
    const work = gflop === undefined ? '' : `${gflop.toFixed(1).padStart(9)} GFLOP ${gflops!.toFixed(1).padStart(8)} GFLOP/s`
    return `  ${stage.padEnd(14)}${ms.toFixed(1).padStart(10)} ms${work}${ofPeak === undefined ? '' : `  ${(100 * ofPeak).toFixed(0)}% of the ${peakFormat} peak`}`
  }
  return [
    `${model}, ${width}x${height}, ${precision}, guided (batch 2), on ${device}`,
    ...peak.map(({ format, instructions, gflops }) => `  peak ${format.padEnd(9)}${gflops.toFixed(0).padStart(10)} GFLOP/s (${instructions})`),
    ...stages.map(line),
    `  peak memory   ${(peakRssBytes / 1e6).toFixed(0).padStart(10)} MB resident`,
    ...(operations ? [...table('a step', operations.step), ...table('decoding', operations.decode)] : []),
    '',
  ].join('\n')
}

export const benchCommand: Command = {
  name: 'bench',
  summary: 'time loading, a network step, the decoder and the encoder, against the peak of this machine',
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
