import { DiffusionPipeline, type GenerateResult } from '../index.js'
import { contactSheet, type Entry } from './contact-sheet.js'
import { shared } from '../options/common.js'
import { pick } from '../options/option.js'
import { plural, readFlags, readOptionFlags, reportFlags, toJson, type Command, type Flags } from './command.js'
import { checkTarget } from './drawing.js'
import { loadFlags, readLoadOptions, readSource } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...loadFlags,
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'image to write (default demo.png)' },
  seed: { kind: 'text', value: 'N', help: 'seed of every image (default 7)' },
  ...reportFlags,
} as const satisfies Flags

/** Prompts within the embedded model's domain: shapes, colours, sizes, backgrounds, positions, counts, relations. */
const prompts = [
  'a red circle on a blue background',
  'a yellow star in the night sky',
  'a pink heart over the sea at sunset',
  'an orange triangle on the grass',
  'a large purple ring on a white background',
  'a small blue diamond in the top left corner on a yellow background',
  'a white moon over the ocean at night',
  'three yellow stars in the night sky',
  'a small red circle above a large blue square on a green background',
  'a green square to the left of an orange circle on a white background',
  'a red triangle on top of a yellow square on the grass',
  'a white star inside a large purple circle on a pink background',
]

const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
const workOf = ({ timings: { encodeMs, sampleMs, decodeMs } }: GenerateResult) => encodeMs + sampleMs + decodeMs

export const demoCommand: Command = {
  name: 'demo',
  summary: 'draw a contact sheet with the embedded model',
  usage: '[options] [-o demo.png]',
  flags,
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'flags only' })
    const source = readSource(values)
    const output = values.output ?? 'demo.png'
    const seed = values.seed === undefined ? 7n : (readOptionFlags(pick(shared, 'seed'), values).seed as bigint | undefined)
    await checkTarget(output, '--output')
    const { signal } = io
    const bar = progressBar(io, values.quiet)
    const began = performance.now()
    try {
      await using pipe = await DiffusionPipeline.load(source, { ...readLoadOptions(values), signal, onProgress: bar.update })
      const loadMs = performance.now() - began
      const pictures: (Entry & { ms: number })[] = []
      let method = ''
      for (const [i, prompt] of prompts.entries()) {
        bar.update({ phase: 'sample', step: i, steps: prompts.length, elapsedMs: performance.now() - began, etaMs: null })
        const result = await pipe.generate({ prompt, signal, ...(seed === undefined ? {} : { seed }) })
        method = `${plural(result.options.steps, 'step')} of ${result.options.sampler}`
        pictures.push({ image: result.images[0]!, label: prompt, ms: workOf(result) })
      }
      bar.clear()
      const drawMs = pictures.reduce((sum, { ms }) => sum + ms, 0)
      const timing = `loaded in ${seconds(loadMs)}, ${pictures.length} images in ${seconds(drawMs)}, ${method}`
      const footer = [timing, `${pipe.info.name} on ${pipe.device.name}`]
      await (await contactSheet(pictures, { columns: 4, side: 4 * 64, footer })).save(output)
      const report = { path: output, loadMs, drawMs, pictures: pictures.map(({ label, ms }) => ({ prompt: label, ms })), device: pipe.device.name }
      if (values.json) io.stdout.write(toJson(report))
      else if (!values.quiet) io.stdout.write(`${output}: ${timing}\n`)
    } finally {
      bar.clear()
    }
  },
}
