/** Shared by the commands that generate images: flags of the sampling loop, previews, files and the report. */
import path from 'node:path'
import { RawImage, type DiffusionPipeline, type GenerateOptions, type GenerateResult } from '../index.js'
import { checkWritable } from '../files/atomic-file.js'
import { samplerNames, scheduleNames } from '../names.js'
import { flagsOf } from '../options/flags.js'
import { generateOptions, previewOptions } from '../options/generate.js'
import { pick } from '../options/option.js'
import { samplingOptions } from '../options/sampling.js'
import { plural, readOptionFlags, toJson, wrapNames, UsageError, type FlagValues, type Io, type reportFlags } from './command.js'
import { promptOptions } from './input-flags.js'

export const promptFlags = flagsOf(promptOptions)

/** Flags of the sampling loop, and the number of images. */
const loopOptions = { ...samplingOptions, ...pick(generateOptions, 'count') }
export const samplingFlags = flagsOf(loopOptions)

export const previewFlags = flagsOf(previewOptions)

export const samplingNotes = `${wrapNames('samplers:', samplerNames)}\n${wrapNames('schedules:', scheduleNames)}`

type DrawingValues = FlagValues<typeof promptFlags> &
  FlagValues<typeof samplingFlags> &
  FlagValues<typeof previewFlags> &
  FlagValues<typeof reportFlags>

/** Options of generate() from the shared flags. */
export function readDrawingOptions(values: DrawingValues): GenerateOptions {
  const options: GenerateOptions = readOptionFlags({ ...promptOptions, ...loopOptions }, values)
  const settings = readOptionFlags(previewOptions, values)
  if (values.preview !== undefined) options.preview = { ...settings, onPreview: previewWriter(values.preview) }
  else if (Object.keys(settings).length > 0) throw new UsageError(`--preview-${Object.keys(settings)[0]} needs --preview FILE`)
  return options
}

/** Writes previews one after another; an image that arrives during writing replaces the waiting one. */
function previewWriter(file: string): (image: RawImage) => unknown {
  let waiting: RawImage | undefined
  let writing = false
  const write = async (image: RawImage) => {
    writing = true
    for (let next: RawImage | undefined = image; next; next = waiting, waiting = undefined) await next.save(file)
    writing = false
  }
  return (image) => {
    if (!writing) return write(image)
    waiting = image
    return undefined
  }
}

/** Reports before the work if a file cannot be written. */
export async function checkOutput(file: string, flag: string): Promise<void> {
  await checkWritable(file).catch((error: Error) => {
    throw new UsageError(`${flag}: ${error.message}`)
  })
}

/** The same for `count` images; the name determines the format. */
export async function checkTarget(file: string, flag: string, count = 1): Promise<void> {
  const extension = path.extname(file).toLowerCase()
  const format = ({ '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' } as const)[extension]
  if (!format) throw new UsageError(`${flag}: '${file}' must end in .png, .jpg, .jpeg or .webp`)
  // The last name is the longest.
  await checkOutput(outputName(file, count - 1, count), flag)
  // Encodes a pixel in that format, which fails if the optional package sharp is needed and missing.
  if (format !== 'png') await new RawImage({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 }).encode(format)
}

/** out.png for one image; out-1.png, out-2.png ... for several. */
export function outputName(file: string, index: number, count: number): string {
  if (count === 1) return file
  const { dir, name, ext } = path.parse(file)
  return path.join(dir, `${name}-${index + 1}${ext}`)
}

/** Images and tensors are replaced by their size; reports contain no pixels. */
function brief(options: object): Record<string, unknown> {
  const describe = (value: unknown): unknown => {
    if (value instanceof RawImage) return `${value.width}x${value.height}`
    if (typeof value !== 'object' || value === null) return value
    if ('data' in value && 'shape' in value) return `[${String(value.shape)}]`
    return 'database' in value ? { ...value, database: undefined } : value
  }
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, describe(value)]))
}

/** Saves the images and says where they are, on standard output. */
export async function saveAndReport(
  result: GenerateResult,
  output: string,
  pipe: DiffusionPipeline,
  values: Pick<DrawingValues, 'json' | 'quiet'>,
  io: Io,
): Promise<void> {
  const files: { path: string; seed: bigint; variationSeed?: bigint; width: number; height: number }[] = []
  const { seed, variationSeed } = result.options
  for (const [i, image] of result.images.entries()) {
    const file = outputName(output, i, result.images.length)
    await image.save(file)
    const later = (first: bigint) => BigInt.asUintN(64, first + BigInt(i))
    const seeds = variationSeed === undefined ? { seed: later(seed) } : { seed, variationSeed: later(variationSeed) }
    files.push({ path: file, ...seeds, width: image.width, height: image.height })
  }
  const { options, timings, float32Parts, loras, warnings } = result
  const report = { images: files, options: brief(options), timings, float32Parts, loras, warnings, model: pipe.info.name, device: pipe.device.id }
  if (!values.quiet) for (const { message } of warnings) io.stderr.write(`warning: ${message}\n`)
  if (values.json) io.stdout.write(toJson(report))
  else if (!values.quiet) {
    const { loadMs, encodeMs, sampleMs, decodeMs } = timings
    for (const { path: file, seed, variationSeed, width, height } of files) {
      const varied = variationSeed === undefined ? '' : `, variation seed ${variationSeed} of strength ${options.variationStrength}`
      io.stdout.write(`${file}: ${width}x${height}, seed ${seed}${varied}\n`)
    }
    io.stdout.write(`${plural(options.steps, 'step')} of ${options.sampler} in ${((loadMs + encodeMs + sampleMs + decodeMs) / 1000).toFixed(1)} s\n`)
    if (float32Parts.length > 0) io.stdout.write(`computed in float32, because fast arithmetic gave NaN or infinity: ${float32Parts.join(', ')}\n`)
  }
}
