import { stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionPipeline, RawImage, type GenerateOptions } from '../index.js'
import { readFlags, readNumber, toJson, UsageError, type Command, type FlagValues, type Flags } from './command.js'
import { loadFlags, readLoadOptions, readSource } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...loadFlags,
  prompt: { kind: 'text', short: 'p', help: 'what to draw, in place of PROMPT; (word:1.2), [word] and BREAK as in A1111' },
  'negative-prompt': { kind: 'text', short: 'n', help: 'what to keep out' },
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'picture to write; with --count, NAME-1.png, NAME-2.png ... (default out.png)' },
  width: { kind: 'number', help: "pixels; default: the model's" },
  height: { kind: 'number', help: "pixels; default: the model's" },
  steps: { kind: 'number', help: "network steps; default: the model's" },
  'guidance-scale': { kind: 'number', help: '1 is no guidance; default 7.5 for Stable Diffusion' },
  'guidance-rescale': { kind: 'number', help: '0 to 1; default 0' },
  seed: { kind: 'text', value: 'N', help: '0 to 2^64-1; default: random, printed at the end' },
  count: { kind: 'number', help: 'pictures, with seeds N, N+1 ...' },
  sampler: { kind: 'text', value: 'NAME', help: "ddim, euler, euler_a, heun, dpmpp_2m, unipc ... (all of them below); default: the model's" },
  schedule: { kind: 'text', value: 'NAME', help: "karras, exponential, sgm_uniform, ays ... or sigmas: 14.6,7.1,2.2,0; default: the sampler's" },
  eta: { kind: 'number', help: 'share of fresh noise per step' },
  rng: { kind: 'text', value: 'NAME', help: 'philox (default, as A1111) or mt19937 (as diffusers and ComfyUI)' },
  'clip-skip': { kind: 'number', help: '1 is the last layer of the text encoder, 2 the last but one' },
  emphasis: { kind: 'text', value: 'NAME', help: 'original (default), no_norm or comfy' },
  image: { kind: 'text', short: 'i', value: 'FILE', help: 'start picture: image to image' },
  strength: { kind: 'number', help: 'image to image: share of the steps that is run, up to 1 (default 0.75)' },
  preview: { kind: 'text', value: 'FILE', help: 'rewrite this picture while sampling' },
  'preview-every': { kind: 'number', help: 'steps between previews; default 1' },
  json: { kind: 'switch', help: 'report as JSON on standard output' },
  quiet: { kind: 'switch', short: 'q', help: 'no progress bar and no report' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

type Values = FlagValues<typeof flags>

const sameNames = ['prompt', 'width', 'height', 'steps', 'count', 'sampler', 'eta', 'rng', 'emphasis', 'image', 'strength'] as const

function readSeed(text: string): bigint {
  if (!/^\d{1,20}$/.test(text)) throw new UsageError(`--seed takes a whole number, not '${text}'`)
  return BigInt(text)
}

function readSchedule(text: string): string | Float32Array {
  return text.includes(',') ? Float32Array.from(text.split(','), (part) => readNumber(part, '--schedule')) : text
}

function readPrompt(flag: string | undefined, positional: string | undefined): string {
  if (flag !== undefined && positional !== undefined)
    throw new UsageError(`the prompt is given twice: '${positional}' and -p '${flag}' (a model is named with -m)`)
  const prompt = flag ?? positional
  if (prompt === undefined) throw new UsageError('no prompt given: pass "what to draw" ("" for the empty prompt)')
  return prompt
}

function readGenerateOptions(values: Values): GenerateOptions {
  const options: Record<string, unknown> = {}
  for (const name of sameNames) if (values[name] !== undefined) options[name] = values[name]
  if (values['negative-prompt'] !== undefined) options.negativePrompt = values['negative-prompt']
  if (values['guidance-scale'] !== undefined) options.guidanceScale = values['guidance-scale']
  if (values['guidance-rescale'] !== undefined) options.guidanceRescale = values['guidance-rescale']
  if (values['clip-skip'] !== undefined) options.clipSkip = values['clip-skip']
  if (values.seed !== undefined) options.seed = readSeed(values.seed)
  if (values.schedule !== undefined) options.schedule = readSchedule(values.schedule)
  return options
}

/** Writes previews one after another; a picture that comes while one is being written replaces the one that waits. */
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

/** Says what would keep a picture from being saved before the hours of drawing it, not after. */
async function checkTarget(file: string, flag: string): Promise<void> {
  const extension = path.extname(file).toLowerCase()
  const format = ({ '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' } as const)[extension]
  if (!format) throw new UsageError(`${flag}: the name of a picture file ends in .png, .jpg, .jpeg or .webp; '${file}' does not`)
  const folder = await stat(path.dirname(path.resolve(file))).catch(() => undefined)
  if (!folder?.isDirectory()) throw new UsageError(`${flag}: the folder of '${file}' does not exist`)
  // A pixel in that format: fails where it needs the optional package sharp and that is missing.
  if (format !== 'png') await new RawImage({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 }).encode(format)
}

/** out.png for one picture; out-1.png, out-2.png ... for several. */
export function outputName(file: string, index: number, count: number): string {
  if (count === 1) return file
  const { dir, name, ext } = path.parse(file)
  return path.join(dir, `${name}-${index + 1}${ext}`)
}

export const generateCommand: Command = {
  name: 'generate',
  summary: 'draw pictures from a prompt',
  usage: 'PROMPT [-m MODEL] [options] [-o out.png]',
  flags,
  notes:
    'samplers: ddim ddpm plms euler euler_a heun lms dpm2 dpm2_a dpmpp_2s_a dpmpp_sde dpmpp_2m dpmpp_2m_sde dpmpp_3m_sde unipc deis lcm tcd\n' +
    'schedules: normal karras exponential polyexponential sgm_uniform simple ddim_uniform beta ays kl_optimal leading trailing linspace',
  async run(argv, io) {
    const { values: given, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one PROMPT (in quotes)' })
    const values = { ...given, prompt: readPrompt(given.prompt, positionals[0]) }
    const source = readSource(values)
    const output = values.output ?? 'out.png'
    const options = readGenerateOptions(values)
    await checkTarget(output, '--output')
    if (values.preview !== undefined) await checkTarget(values.preview, '--preview')
    const { signal } = io
    const bar = progressBar(io, values.quiet)
    if (values.preview !== undefined)
      options.preview = {
        onPreview: previewWriter(values.preview),
        ...(values['preview-every'] === undefined ? {} : { every: values['preview-every'] }),
      }
    try {
      await using pipe = await DiffusionPipeline.load(source, { ...readLoadOptions(values), signal, onProgress: bar.update })
      const result = await pipe.generate({ ...options, signal, onProgress: bar.update })
      bar.clear()
      const files: { path: string; seed: bigint; width: number; height: number }[] = []
      for (const [i, image] of result.images.entries()) {
        const file = outputName(output, i, result.images.length)
        await image.save(file)
        files.push({ path: file, seed: BigInt.asUintN(64, result.seed + BigInt(i)), width: image.width, height: image.height })
      }
      if (values.json)
        io.stdout.write(toJson({ images: files, options: result.options, timings: result.timings, model: pipe.info.name, device: pipe.device.id }))
      else if (!values.quiet) {
        const { loadMs, encodeMs, sampleMs, decodeMs } = result.timings
        for (const { path: file, seed, width, height } of files) io.stdout.write(`${file}: ${width}x${height}, seed ${seed}\n`)
        io.stdout.write(
          `${result.options.steps} steps of ${result.options.sampler} in ${((loadMs + encodeMs + sampleMs + decodeMs) / 1000).toFixed(1)} s\n`,
        )
      }
    } finally {
      bar.clear()
    }
  },
}
