/** Options for adapters: a file and its strengths each. */
import type { LoraOptions } from '../types.js'
import { number, option, readNested, type Fail, type Options } from './option.js'
import { invalidType, listOf, show } from './validate.js'

const maxLoras = 64
const strengths = { min: -1000, max: 1000, flag: 'a number of --lora' }

/** An adapter with checked strengths; its file is located later. */
export type CheckedLora = Required<LoraOptions>

function checkFile(value: unknown, name: string): LoraOptions['path'] {
  if (value === undefined) throw invalidType(`${name} is missing: the file of the adapter`)
  return value as LoraOptions['path']
}

const adapterOptions = {
  path: option(checkFile, { required: true, flag: 'the name of --lora' }),
  weight: number({ ...strengths, fallback: () => 1 }),
  textWeight: number(strengths),
} satisfies Options<LoraOptions>

export function checkLoras(value: unknown, name = 'loras'): CheckedLora[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of { path, weight }, not ${show(value)}`)
  return listOf(value, name, maxLoras).map((one, i) => {
    const { path, weight, textWeight = weight } = readNested(adapterOptions, one, `${name}[${i}]`, undefined)
    return { path, weight, textWeight }
  })
}

/** `style.safetensors:0.8` or `style.safetensors:0.8:0.4`. */
function readLora(text: string, fail: Fail): LoraOptions {
  const number = /:(-?(?:\d+\.?\d*|\.\d+))$/
  const numbers: number[] = []
  let path = text
  for (let found = number.exec(path); found && numbers.length < 2; found = number.exec(path)) {
    numbers.unshift(Number(found[1]))
    path = path.slice(0, found.index)
  }
  if (path === '') return fail(`: '${text}' names no file`)
  const [weight, textWeight] = numbers
  return { path, ...(weight === undefined ? {} : { weight }), ...(textWeight === undefined ? {} : { textWeight }) }
}

export const loras = {
  ...option(checkLoras, {
    flag: {
      name: 'lora',
      value: 'FILE[:W[:T]]',
      help: 'LoRA or similar adapter, its weight, and that in the text encoders; can be repeated',
      read: readLora,
    },
  }),
  type: 'list' as const,
}
