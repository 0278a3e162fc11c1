/** What to draw, on the command line: the flags of the inputs that models of the different kinds take. */
import { readRegular } from '../files/regular-file.js'
import { RetrievalDatabase, type GenerateOptions, type LayoutBox } from '../index.js'
import { sameOptions, UsageError, type FlagValues, type Flags } from './command.js'

export const inputFlags = {
  prompt: { kind: 'text', short: 'p', help: 'what to draw, in place of PROMPT; (word:1.2), [word] and BREAK as in A1111' },
  sizes: { kind: 'text', value: 'JSON', help: 'SDXL: what it is told of the picture, e.g. \'{"original":{"width":2048,"height":2048}}\'' },
  class: { kind: 'text', value: 'N|NAME', help: 'class of a class-conditional model' },
  boxes: { kind: 'text', value: 'FILE', help: 'layout: JSON list of { "label", "x", "y", "width", "height" }, in fractions of the picture' },
  'semantic-map': { kind: 'text', value: 'FILE', help: 'semantic synthesis: grey or palette PNG with a label per pixel' },
  image: { kind: 'text', short: 'i', value: 'FILE', help: 'start picture; for inpainting and super-resolution, the picture to work on' },
  mask: { kind: 'text', value: 'FILE', help: 'inpainting and image to image: what of the picture to repaint is white' },
  'noise-level': { kind: 'number', help: 'SD x4 upscaler: noise on the small picture; default 20' },
  neighbours: { kind: 'text', value: 'FILE', help: 'retrieval-augmented models: database (.npz, .safetensors or a folder) searched by the prompt' },
  k: { kind: 'number', help: 'how many neighbours; default 10' },
  strength: { kind: 'number', help: 'image to image: share of the steps that is run, up to 1 (default 0.75)' },
} as const satisfies Flags

type InputValues = FlagValues<typeof inputFlags>

/** A layout has at most some thirty boxes. */
const maxTextBytes = 1 << 20

async function readText(file: string, flag: string): Promise<string> {
  const refuse = (message: string) => new UsageError(`${flag}: ${message}`)
  const bytes = await readRegular(file, { what: '', maxBytes: maxTextBytes, refuse }).catch((error: Error) => {
    throw error instanceof UsageError ? error : refuse(error.message)
  })
  return bytes.toString('utf8')
}

function readJson(text: string, flag: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${flag} is not JSON: ${(error as Error).message}`)
  }
}

async function readBoxes(file: string): Promise<LayoutBox[]> {
  let value: unknown
  try {
    value = JSON.parse(await readText(file, '--boxes'))
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`--boxes: ${file} is not JSON: ${(error as Error).message}`)
  }
  if (!Array.isArray(value)) throw new UsageError(`--boxes: ${file} is not a list of { "label", "x", "y", "width", "height" }`)
  return value as LayoutBox[]
}

/** The inputs among the flags as options of generate(). */
export async function readInputs(values: InputValues): Promise<GenerateOptions> {
  const options: GenerateOptions = sameOptions(values, ['prompt', 'semantic-map', 'image', 'mask', 'noise-level', 'strength'])
  if (values.sizes !== undefined) options.sizes = readJson(values.sizes, '--sizes') as NonNullable<GenerateOptions['sizes']>
  if (values.class !== undefined) options.classId = /^\d+$/.test(values.class) ? Number(values.class) : values.class
  if (values.boxes !== undefined) options.boxes = await readBoxes(values.boxes)
  if (values.neighbours !== undefined)
    options.neighbours = { database: await RetrievalDatabase.load(values.neighbours), ...(values.k === undefined ? {} : { k: values.k }) }
  else if (values.k !== undefined) throw new UsageError('--k is for --neighbours: how many of them')
  return options
}

/** The prompt as an argument or as a flag; none where other inputs may do. */
export function readPrompt(flag: string | undefined, positional: string | undefined): string | undefined {
  if (flag !== undefined && positional !== undefined)
    throw new UsageError(`the prompt is given twice: '${positional}' and -p '${flag}' (a model is named with -m)`)
  return flag ?? positional
}
