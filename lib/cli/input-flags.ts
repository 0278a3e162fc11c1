/** Flags for the inputs of all kinds of models. */
import { readRegular } from '../files/regular-file.js'
import { RetrievalDatabase, type GenerateOptions, type LayoutBox, type RetrievalLoadOptions } from '../index.js'
import { inputOptions, negativeOptions, refinerOptions, startOptions } from '../kinds/input-options.js'
import { flagsOf } from '../options/flags.js'
import { omit, pick } from '../options/option.js'
import { readOptionFlags, UsageError, type FlagValues, type Flags } from './command.js'

const { emphasis, clipSkip, ...drawn } = inputOptions

/** Settings of prompts. */
export const promptOptions = { ...negativeOptions, clipSkip, emphasis }

/** The number of neighbours is an option of the search, not of generate(). */
const neighbourCount = { k: { kind: 'number', help: 'number of neighbours; default 10' } } as const satisfies Flags

export const inputFlags = {
  ...flagsOf(drawn),
  ...neighbourCount,
  ...flagsOf(pick(startOptions, 'strength')),
  ...flagsOf(refinerOptions),
} as const satisfies Flags

type InputValues = FlagValues<typeof inputFlags>

/** A layout has at most about thirty boxes. */
const maxTextBytes = 1 << 20

async function readText(file: string, flag: string): Promise<string> {
  const refuse = (message: string) => new UsageError(`${flag}: ${message}`)
  const bytes = await readRegular(file, { what: '', maxBytes: maxTextBytes, refuse }).catch((error: Error) => {
    throw error instanceof UsageError ? error : refuse(error.message)
  })
  return bytes.toString('utf8')
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

/** Converts input flags to options of generate(); boxes and neighbours are in files. `loading`: settings for databases. */
export async function readInputs(values: InputValues, loading: RetrievalLoadOptions = {}): Promise<GenerateOptions> {
  const options: GenerateOptions = readOptionFlags(
    { ...omit(drawn, 'boxes', 'neighbours'), ...pick(startOptions, 'strength'), ...refinerOptions },
    values,
  )
  if (values.boxes !== undefined) options.boxes = await readBoxes(values.boxes)
  if (values.neighbours !== undefined)
    options.neighbours = { database: await RetrievalDatabase.load(values.neighbours, loading), ...(values.k === undefined ? {} : { k: values.k }) }
  else if (values.k !== undefined) throw new UsageError('--k needs --neighbours FILE')
  return options
}

/** The prompt as an argument or as a flag; may be missing if other inputs suffice. */
export function readPrompt(flag: string | undefined, positional: string | undefined): string | undefined {
  if (flag !== undefined && positional !== undefined)
    throw new UsageError(`the prompt was given twice: '${positional}' and -p '${flag}' (a model is named with -m)`)
  return flag ?? positional
}
