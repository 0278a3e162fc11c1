/** The options of a conversion. */
import { weightTypes } from '../names.js'
import type { ConvertOptions, WeightType } from '../types.js'
import { loadOptions } from './load.js'
import { loras } from './loras.js'
import { choice, option, pick, type Fail, type Options } from './option.js'
import { checkName, checkString, invalidType, listOf, show } from './validate.js'

const maxOverrides = 10_000

/** Pairs in order of precedence. */
function checkOverrides(value: unknown, name: string): [string, WeightType][] {
  if (value === null || typeof value !== 'object') throw invalidType(`${name} must be an object or a list of pairs, not ${show(value)}`)
  const pairs = Array.isArray(value) ? listOf(value, name, maxOverrides) : Object.entries(value)
  return pairs.map((pair, i) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw invalidType(`${name}[${i}] must be a pair [pattern, type], not ${show(pair)}`)
    const [pattern, type] = listOf(pair, `${name}[${i}]`, 2)
    return [checkString(pattern, `${name}[${i}] pattern`, 1000), checkName(type, `${name}[${i}] type`, weightTypes)]
  })
}

function readOverrides(text: string, fail: Fail): string[][] {
  return text.split(',').map((pair) => {
    const at = pair.lastIndexOf('=')
    if (at < 1) return fail(`: '${pair}' is not of the form PATTERN=TYPE`)
    return [pair.slice(0, at), pair.slice(at + 1)]
  })
}

function checkMetadata(value: unknown, name: string): Record<string, string> {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw invalidType(`${name} must be an object of strings, not ${show(value)}`)
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, checkString(text, `${name}.${key}`)]))
}

/** The load options that a conversion takes. */
export const convertLoadOptions = pick(loadOptions, 'config', 'spec', 'ema', 'variant', 'hub', 'signal', 'onProgress')

export const convertOptions = {
  type: choice({ names: weightTypes, required: true, flag: { short: 't', value: 'TYPE', help: `${weightTypes.join(' ')} (default f16)` } }),
  overrides: option(checkOverrides, {
    fallback: (): [string, WeightType][] => [],
    flag: { name: 'override', value: 'LIST', help: 'types for matching tensors: PATTERN=TYPE,PATTERN=TYPE', read: readOverrides },
  }),
  loras: {
    ...loras,
    flag: { ...loras.flag, help: 'LoRA or similar adapter to merge into the weights; can be repeated' },
  },
  metadata: option(checkMetadata, { fallback: (): Record<string, string> => ({}), flag: 'texts may contain spaces and commas; only in the API' }),
} satisfies Options<Omit<ConvertOptions, keyof typeof convertLoadOptions>>
