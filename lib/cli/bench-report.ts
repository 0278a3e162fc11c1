/** One run of `latent bench`: measurements and report. */
import {
  DiffusionPipeline,
  estimateMemory,
  getDevices,
  getVersions,
  measureBandwidth,
  measurePeak,
  type Bandwidth,
  type Device,
  type GenerateOptions,
  type GetDevicesOptions,
  type Kernels,
  type LoraReport,
  type OperationTime,
  type Peak,
} from '../index.js'
import { estimateOptions } from '../options/estimate.js'
import { flagsOf } from '../options/flags.js'
import { takesPrompts } from '../kinds/input-rules.js'
import { generateOptions } from '../options/generate.js'
import { loadOptions } from '../options/load.js'
import { pick } from '../options/option.js'
import { encoderOf, prepareStep } from './bench-step.js'
import { readOptionFlags, type Flags, type FlagValues, type Io } from './command.js'
import { loadFlags, loraFlags, readLoadOptions, readSource, sizeFlags, sizeOptions } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const guidanceOptions = pick(estimateOptions, 'guidanceScale', 'imageGuidanceScale')

/** Flags of the command. */
export const benchFlags = {
  ...loadFlags,
  ...sizeFlags,
  ...flagsOf(guidanceOptions),
  lora: { ...loraFlags.lora, help: 'also time a step with this adapter: FILE or FILE:WEIGHT; may be repeated' },
  repeats: { kind: 'number', help: 'network steps to time; the median is reported (default 3)' },
  profile: { kind: 'switch', help: 'also time each operation of a step and of the decoder' },
  kernels: {
    kind: 'text',
    value: 'SET',
    help: "use kernels up to this instruction set (avx2 ...); ggml: use ggml's operations",
  },
  all: { kind: 'switch', help: "compare ggml's operations, every instruction set of this processor, and int8" },
  json: { kind: 'switch', help: 'as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

export type BenchValues = FlagValues<typeof benchFlags>

/** One timed stage. */
export interface Row {
  stage: string
  ms: number
  gflop?: number
  gflops?: number
  /** Share of the machine's peak in `peakFormat`, measured in the same run. */
  ofPeak?: number
  peakFormat?: string
}

export interface Report {
  /** When it was made, ISO 8601. */
  date: string
  /** Of this package. */
  version: string
  model: string
  kind: string
  /** Of the files: `compvis`, `diffusers`, `gguf` ... */
  naming: string
  /** Weight types in memory, by part. */
  dtypes: Record<string, string>
  device: string
  threads: number
  precision: string
  /** The sets that the engine selected, and whether LATENT_OPS selects ggml's operations instead; absent if no CPU computed. */
  kernels?: Omit<Kernels, 'available'>
  width: number
  height: number
  /** Evaluations of the network in one step: 2 with guidance, 3 with guidance by an image too; 0 without a network. */
  evaluations: number
  peak: Peak[]
  /** Of the caches and of memory; empty if no CPU computed. */
  bandwidth: Bandwidth[]
  stages: Row[]
  /** With --lora: the number of layers changed by the adapters, and the ratio of step times with and without them: the median over pairs of steps. */
  loras?: { files: string[]; layers: number; ofStep: number }
  /** With --profile: for one step, one with the adapters if there are any, and one decoding. */
  operations?: Record<'step' | 'decode', OperationTime[]> & { stepWithLora?: OperationTime[] }
  /** Up to the decoded image; image to image also encodes and may take more. */
  peakRssBytes: number
  /** Of a GPU that tells its free memory: what was taken of it at most, measured after each of these stages. */
  peakDeviceBytes?: number
}

/**
 * What is taken of a GPU's memory, as its driver tells: at most, after any sample. Undefined for the CPU, whose devices are not listed for it, and for drivers
 * that do not tell.
 */
export async function deviceMemory(
  onCpu: boolean,
  list: () => Promise<Device[]>,
): Promise<{ sample: (id: string) => Promise<void>; peak: () => number | undefined }> {
  const before = onCpu ? [] : await list()
  let peak: number | undefined
  return {
    sample: async (id) => {
      const start = before.find((each) => each.id === id)
      const now = start && (await list()).find((each) => each.id === id)
      const taken = start && now ? start.memoryFree - now.memoryFree : 0
      if (taken > 0) peak = Math.max(peak ?? 0, taken) // a driver that tells only the size always has all of it free
    },
    peak: () => peak,
  }
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

/** Runs one step more than requested, because the first one builds the graph. */
async function timeSteps(repeats: number, step: () => Promise<{ dispose: () => void }>): Promise<{ first: number; usual: number }> {
  const all: number[] = []
  for (let i = 0; i <= repeats; i++) {
    const [ms, out] = await timed(step)
    out.dispose()
    all.push(ms)
  }
  return { first: all[0]!, usual: median(all.slice(1)) }
}

/**
 * Steps with and without adapters by turns, because the speed of a machine changes over minutes. The first step after a change builds the graph and is not
 * counted.
 */
async function timeByTurns(
  repeats: number,
  step: () => Promise<{ dispose: () => void }>,
  adapt: (on: boolean) => Promise<readonly LoraReport[]>,
): Promise<{ usual: number; ofStep: number; reports: readonly LoraReport[] }> {
  const adapted: number[] = []
  const ratios: number[] = []
  let reports: readonly LoraReport[] = []
  for (let i = 0; i < repeats; i++) {
    reports = await adapt(true)
    const { usual } = await timeSteps(1, step)
    await adapt(false)
    adapted.push(usual)
    ratios.push(usual / (await timeSteps(1, step)).usual)
  }
  return { usual: median(adapted), ofStep: median(ratios), reports }
}

/** The peak of the instructions that the engine selected for a network's arithmetic. */
function reachable(
  peaks: Peak[],
  { operations, float32, fast, int8 }: Omit<Kernels, 'available'>,
  precision: string,
  dtype: string | undefined,
): Peak | undefined {
  const quick = precision === 'fast' && operations === 'fused'
  const of = (set: string, format?: string) => peaks.find((peak) => peak.instructions === set && (format === undefined || peak.format === format))
  return (
    (quick && dtype === 'int8' ? of(int8, 'int8') : undefined) ??
    (quick ? of(fast) : undefined) ??
    of(float32, 'f32') ??
    peaks.find(({ format }) => format === 'f32')
  )
}

/** The sets that the engine uses on the CPU. Throws if the environment names an unknown one. */
export async function chosenKernels(): Promise<Kernels> {
  const [cpu] = await getDevices({ type: 'cpu' })
  return cpu!.kernels!
}

/** The names of the adapters, and the number of layers they change. */
function changes(reports: readonly LoraReport[]): { files: string[]; layers: number } {
  return { files: reports.map(({ name }) => name), layers: new Set(reports.flatMap(({ matched }) => matched)).size }
}

/** Loads the model given by the flags and times its stages. */
export async function measure(values: BenchValues, model: string | undefined, io: Io): Promise<Report> {
  const { signal } = io
  const { operations: kind, float32, fast, int8, rows } = await chosenKernels()
  const kernels = { operations: kind, float32, fast, int8, rows }
  const source = readSource(values, model)
  const load = { ...readLoadOptions(values), signal }
  const bar = progressBar(io)
  const guidance: { guidanceScale?: number; imageGuidanceScale?: number } = readOptionFlags(guidanceOptions, values)
  const request = { ...load, ...readOptionFlags(sizeOptions, values), ...guidance, onProgress: bar.update }
  const estimate = await estimateMemory(source, request).finally(bar.clear)
  // A GPU's are not measured.
  const device = values.device ?? 'auto'
  const onCpu = /^(auto|cpu)$/.test(device)
  const threads = { signal, ...readOptionFlags(pick(loadOptions, 'threads'), values) }
  const peak = onCpu ? await measurePeak(threads) : []
  const type = device.split(':')[0] as GetDevicesOptions['type'] // the only kind whose library this process loads
  const taken = await deviceMemory(onCpu, () => getDevices({ type }))
  const [loadMs, pipe] = await timed(() => DiffusionPipeline.load(source, load))
  await using held = pipe
  const f32 = peak.find(({ format }) => format === 'f32') // text encoders stay in float32
  const best = (part: 'unet' | 'vae') => reachable(peak, kernels, held.info.precision, held.info.dtypes[part])
  const { info } = held
  const sample = () => taken.sample(held.device.id)
  const { width, height } = estimate
  const encode = encoderOf(held, { width, height }, signal)
  const stages: Row[] = [{ stage: 'load', ms: loadMs }]
  if (encode) {
    const text = estimate.textEncoder
    const encoded = async () => (await encode()).dispose()
    // The first prompt reads the tokenizer's files and builds the graph.
    stages.push({ stage: takesPrompts(info) ? 'first prompt' : 'first condition', ms: (await timed(encoded))[0] })
    stages.push(row(text ? 'text encoder' : 'conditioner', (await timed(encoded))[0], (text ?? estimate.conditioner)?.flops, f32))
    await sample()
  }
  const latents = await held.createLatents({ width, height, seed: 0, signal })
  const network = info.kind === 'autoencoder' ? undefined : await prepareStep(held, latents, { width, height, ...guidance, signal })
  const repeats = values.repeats ?? 3
  const { loras }: GenerateOptions = readOptionFlags(pick(generateOptions, 'loras'), values)
  const adapt = (on: boolean) => held.setLoras(on ? loras! : [], { signal })
  const bare = network && (await timeSteps(repeats, network.evaluate))
  if (bare) stages.push({ stage: 'first step', ms: bare.first }, row('step', bare.usual, estimate.unet?.flops, best('unet')))
  const adapted = network && loras ? await timeByTurns(repeats, network.evaluate, adapt) : undefined
  if (adapted) stages.push({ stage: 'step with LoRA', ms: adapted.usual })
  await sample()
  const [decodeMs, picture] = await timed(() => held.decode(latents, { output: 'float', signal }))
  stages.push(row('decode', decodeMs, estimate.decode?.flops, best('vae')))
  await sample()
  const peakRssBytes = held.memoryUsage().processPeak // includes everything that an image needs
  const bandwidth = onCpu ? await measureBandwidth(threads) : [] // needs memory of its own, so after the peak was read
  // A tiny autoencoder may have only a decoder.
  const encodePicture = () => held.encodeImage({ data: picture, shape: [1, 3, height, width] }, { signal })
  if (info.spec.firstStage?.encoder !== false) {
    const [encodeMs, encoded] = await timed(encodePicture)
    encoded.dispose()
    stages.push(row('encode', encodeMs, estimate.encode?.flops, best('vae')))
  }
  const profileStep = async () => {
    if (!network) return []
    ;(await network.evaluate()).dispose() // keys and values of the text
    return held.profile(async () => (await network.evaluate()).dispose())
  }
  const profileAdapted = async () => {
    await adapt(true)
    const stepWithLora = await profileStep()
    await adapt(false)
    return { stepWithLora }
  }
  const operations = values.profile
    ? {
        step: await profileStep(),
        ...(loras ? await profileAdapted() : {}),
        decode: await held.profile(() => held.decode(latents, { output: 'float', signal })),
      }
    : undefined
  const { version, cpu } = getVersions()
  return {
    date: new Date().toISOString(),
    version,
    model: info.name,
    kind: info.kind,
    naming: info.spec.naming,
    dtypes: info.dtypes,
    device: held.device.name,
    threads: values.threads ?? cpu.cores,
    precision: info.precision,
    ...(held.device.type === 'cpu' ? { kernels } : {}),
    width,
    height,
    evaluations: network?.evaluations ?? 0,
    peak,
    bandwidth,
    stages,
    ...(adapted ? { loras: { ...changes(adapted.reports), ofStep: adapted.ofStep } } : {}),
    ...(operations ? { operations } : {}),
    peakRssBytes,
    ...(taken.peak() === undefined ? {} : { peakDeviceBytes: taken.peak()! }),
  }
}

/**
 * The least time of an operation, in milliseconds, by its work and by its bytes: the larger one is its roof. Bytes count once, at the speed of memory; caches
 * may be faster.
 */
export function roof({ gflop, gigabytes }: OperationTime, peak: number, memory: number): { byWork: number; byBytes: number } {
  return { byWork: peak > 0 ? (1000 * gflop) / peak : 0, byBytes: memory > 0 ? (1000 * gigabytes) / memory : 0 }
}

/** The most expensive operations, down to a thousandth of the total. */
function table(title: string, operations: OperationTime[], peak: Peak | undefined, memory: number): string[] {
  const total = operations.reduce((sum, { ms }) => sum + ms, 0)
  const columns = (values: (string | number)[], widths: number[]) => values.map((value, i) => String(value).padStart(widths[i]!)).join('')
  return [
    `  ${title}, by operation; roof: the least time by work (w) or bytes (b)`,
    ...operations
      .filter(({ ms }) => ms >= total / 1000)
      .map((each) => {
        const { operation, calls, ms, gflop, gigabytes } = each
        const { byWork, byBytes } = roof(each, peak?.gflops ?? 0, memory)
        const least = Math.max(byWork, byBytes)
        const share = least > 0 ? `${((100 * least) / ms).toFixed(0)}% ${byWork >= byBytes ? 'w' : 'b'}` : ''
        const rates = [
          gflop > 0 ? `${((1000 * gflop) / ms).toFixed(0)} GFLOP/s` : '',
          gigabytes > 0 ? `${((1000 * gigabytes) / ms).toFixed(1)} GB/s` : '',
          share,
        ]
        const head = columns([ms.toFixed(1), ' ms', ((100 * ms) / total).toFixed(1), '%', calls, ' x  '], [10, 0, 6, 0, 5, 0])
        return `  ${head}${operation.padEnd(38)}${columns(rates, [14, 12, 8])}`.trimEnd()
      }),
  ]
}

/** 16 KiB, 4 MiB. */
function binarySize(bytes: number): string {
  return bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`
}

/** The guidance of the steps, as part of a title: `, guided (batch 2)`. Empty without a network. */
export function batchText({ evaluations }: Pick<Report, 'evaluations'>): string {
  return evaluations === 0 ? '' : `, ${evaluations > 1 ? 'guided' : 'unguided'} (batch ${evaluations})`
}

/** A report for people. */
export function render(report: Report): string {
  const {
    model,
    device,
    precision,
    width,
    height,
    evaluations,
    peak,
    bandwidth,
    stages,
    loras,
    operations,
    peakRssBytes,
    peakDeviceBytes,
    kernels,
    dtypes,
  } = report
  const line = ({ stage, ms, gflop, gflops, ofPeak, peakFormat }: Row) => {
    const work = gflop === undefined ? '' : `${gflop.toFixed(1).padStart(9)} GFLOP ${gflops!.toFixed(1).padStart(8)} GFLOP/s`
    return `  ${stage.padEnd(16)}${ms.toFixed(1).padStart(9)} ms${work}${ofPeak === undefined ? '' : `  ${(100 * ofPeak).toFixed(0)}% of the ${peakFormat} peak`}`
  }
  const memory = bandwidth.at(-1)?.gigabytesPerSecond ?? 0
  const profile = (title: string, part: 'unet' | 'vae', each: OperationTime[]) =>
    table(title, each, kernels && reachable(peak, kernels, precision, dtypes[part]), memory)
  return [
    `${model}, ${width}x${height}, ${precision}${batchText(report)}, on ${device}`,
    ...peak.map(({ format, instructions, gflops }) => `  peak ${format.padEnd(10)}${gflops.toFixed(0).padStart(10)} GFLOP/s (${instructions})`),
    ...bandwidth.map(({ bytes, gigabytesPerSecond }) => `  read ${binarySize(bytes).padEnd(10)}${gigabytesPerSecond.toFixed(0).padStart(10)} GB/s`),
    ...stages.map(line),
    ...(loras ? [`  a step with ${loras.files.join(', ')} (${loras.layers} layers) takes ${loras.ofStep.toFixed(3)} of a step without`] : []),
    `  peak memory    ${(peakRssBytes / 1e6).toFixed(0).padStart(10)} MB resident`,
    ...(peakDeviceBytes === undefined ? [] : [`  device memory  ${(peakDeviceBytes / 1e6).toFixed(0).padStart(10)} MB at most, after a stage`]),
    ...(operations
      ? [
          ...(evaluations > 0 ? profile('a step', 'unet', operations.step) : []),
          ...(operations.stepWithLora ? profile('a step with LoRA', 'unet', operations.stepWithLora) : []),
          ...profile('decoding', 'vae', operations.decode),
        ]
      : []),
    '',
  ].join('\n')
}
