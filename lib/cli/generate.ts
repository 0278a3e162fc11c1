import { DiffusionPipeline, inspect, type GenerateOptions, type ModelSource } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { generateOptions, variationOptions } from '../options/generate.js'
import { hiresOptions } from '../options/hires.js'
import { pick } from '../options/option.js'
import { readFlags, readOptionFlags, reportFlags, UsageError, type Command, type FlagValues, type Flags, type Io } from './command.js'
import { checkTarget, previewFlags, promptFlags, readDrawingOptions, samplingFlags, samplingNotes, saveAndReport } from './drawing.js'
import { inputFlags, readInputs, readPrompt } from './input-flags.js'
import { loadFlags, loraFlags, readFileOptions, readLoadOptions, readSource, sizeFlags } from './model-flags.js'
import { progressBar, type ProgressBar } from './progress-bar.js'

const flags = {
  ...loadFlags,
  ...inputFlags,
  ...promptFlags,
  ...loraFlags,
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'image to write; with --count, NAME-1.png, NAME-2.png ... (default out.png)' },
  ...sizeFlags,
  ...samplingFlags,
  ...flagsOf(variationOptions),
  ...flagsOf(hiresOptions),
  ...previewFlags,
  ...reportFlags,
} as const satisfies Flags

type Values = FlagValues<typeof flags>

/** Text models generate from the empty prompt only if it is given explicitly. The model's header tells whether it is one, before loading. */
async function checkPrompt(source: ModelSource | undefined, values: Values, { signal }: Io, bar: ProgressBar): Promise<void> {
  if (values.prompt !== undefined) return
  // The embedded model is a text model.
  const kind = source === undefined ? 'text' : (await inspect(source, { signal, onProgress: bar.update, ...readFileOptions(values) })).spec.kind
  if (kind === 'text') throw new UsageError('no prompt given: pass "what to draw" ("" for an empty prompt)')
}

async function readOptions(values: Values, { signal }: Io, bar: ProgressBar): Promise<GenerateOptions> {
  const { hub } = readFileOptions(values)
  const hires = readOptionFlags(hiresOptions, values)
  return {
    ...readDrawingOptions(values),
    ...(await readInputs(values, { signal, onProgress: bar.update, ...(hub === undefined ? {} : { hub }) })),
    ...readOptionFlags(pick(generateOptions, 'width', 'height', 'loras', 'variationSeed', 'variationStrength'), values),
    ...(Object.keys(hires).length === 0 ? {} : { hires }),
  }
}

export const generateCommand: Command = {
  name: 'generate',
  summary: 'generate images from a prompt, a class, boxes, a label map, another image ...',
  usage: '[PROMPT] [-m MODEL] [options] [-o out.png]',
  flags,
  notes: `Each kind of model accepts only its own inputs; latent inspect MODEL shows the kind.\n${samplingNotes}`,
  async run(argv, io) {
    const { values: given, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one PROMPT (in quotes)' })
    const prompt = readPrompt(given.prompt, positionals[0])
    const values: Values = prompt === undefined ? given : { ...given, prompt }
    const source = readSource(values)
    const output = values.output ?? 'out.png'
    await checkTarget(output, '--output', values.count)
    if (values.preview !== undefined) await checkTarget(values.preview, '--preview')
    const { signal } = io
    const bar = progressBar(io, values.quiet)
    try {
      const options = await readOptions(values, io, bar)
      await checkPrompt(source, values, io, bar)
      await using pipe = await DiffusionPipeline.load(source, { ...readLoadOptions(values), signal, onProgress: bar.update })
      const result = await pipe.generate({ ...options, signal, onProgress: bar.update })
      bar.clear()
      await saveAndReport(result, output, pipe, values, io)
    } finally {
      bar.clear()
    }
  },
}
