/** docs/migration: everything in the column "here" exists: options, flags, names of samplers and schedules, functions. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import * as library from '../../lib/index'
import { inputOptions, negativeOptions, refinerOptions, startOptions } from '../../lib/kinds/input-options'
import * as names from '../../lib/names'
import { convertOptions } from '../../lib/options/convert'
import { generateOptions, previewOptions } from '../../lib/options/generate'
import { loadOptions, memoryOptions, modelKinds } from '../../lib/options/load'
import { modelFiles } from '../../lib/options/model-files'
import { presetNames } from '../../lib/options/presets'
import { denoisingOptions, samplingOptions } from '../../lib/options/sampling'
import { cli } from '../helpers/cli'

const folder = path.resolve(__dirname, '..', '..', 'docs', 'migration')

const tables = [generateOptions, previewOptions, loadOptions, memoryOptions, modelFiles, convertOptions, samplingOptions, denoisingOptions]
const classes = [library.DiffusionPipeline, library.Autoencoder, library.RawImage] as { prototype: object }[]
/** Options, functions, classes and their methods. */
const identifiers = new Set([
  ...[...tables, inputOptions, startOptions, refinerOptions, negativeOptions].flatMap((table) => Object.keys(table)),
  ...Object.keys(library),
  ...classes.flatMap((each) => [...Object.getOwnPropertyNames(each.prototype), ...Object.getOwnPropertyNames(each)]),
  // Fields of `spec`, of adapters and of `extra`, types of JavaScript.
  ...['prediction', 'path', 'weight', 's_churn', 's_noise', 'Float32Array', 'AbortSignal', 'true', 'i', 'name'],
])
const values = new Set([
  ...Object.values(names).flatMap((list) => (Array.isArray(list) ? (list as string[]) : [])),
  ...modelKinds,
  ...presetNames,
  ...['low', 'exact', 'cuda', 'philox', 'mt19937', 'original', 'no_norm', 'diffusers', 'v', 'linear', 'taesd', 'vae', 'f16', 'q8_0', 'fp16'],
])

/** The last cell of each row of the tables whose last header is "here". */
function cells(file: string): { line: number; text: string }[] {
  let inside = false
  return readFileSync(path.join(folder, file), 'utf8')
    .split('\n')
    .flatMap((row, i) => {
      if (!row.startsWith('|')) inside = false
      else if (/\|\s*here\s*\|$/.test(row)) inside = true
      else if (inside && !/^\|\s*-/.test(row)) return [{ line: i + 1, text: row.split('|').at(-2)! }]
      return []
    })
}

const commands = ['generate', 'upscale', 'convert', 'inspect', 'estimate', 'serve']
let flags: Set<string>
beforeAll(async () => {
  const helps = await Promise.all(commands.map(async (command) => (await cli([command, '--help'])).stdout))
  flags = new Set(helps.flatMap((text) => text.match(/(?<=^|[\s,(])--?[a-z][\w-]*/gim) ?? []))
})

/** What a piece of code in such a cell names that does not exist. */
function unknown(code: string): string[] {
  if (code.startsWith('<lora:')) return []
  const command = /^latent ([a-z]+)$/.exec(code)
  if (command) return commands.includes(command[1]!) ? [] : [code]
  const flag = /^(--?[a-z][\w-]*)(?: (\S+))?$/.exec(code)
  if (flag) {
    const value = flag[2]
    const isKnown = value === undefined || values.has(value) || value === 'FILE' || value.startsWith('sigmas:')
    return [...(flags.has(flag[1]!) ? [] : [flag[1]!]), ...(isKnown ? [] : [value])]
  }
  const texts = [...code.matchAll(/'([^']*)'/g)].map(([, text]) => text!)
  const words = code.replace(/'[^']*'/g, '').match(/[A-Za-z_]\w*/g) ?? []
  return [...texts.filter((text) => !values.has(text) && !/[:.]/.test(text)), ...words.filter((word) => !identifiers.has(word) && !values.has(word))]
}

test('what does not exist is noticed', () => {
  expect(unknown("sampler: 'dpmpp_2m'")).toEqual([])
  expect(unknown("sampler: 'dpmpp_9m'")).toEqual(['dpmpp_9m'])
  expect(unknown('guidanceScales')).toEqual(['guidanceScales'])
  expect(unknown('--guidance')).toEqual(['--guidance'])
})

test.each(readdirSync(folder))('%s', (file) => {
  const found = cells(file)
  expect(found.length).toBeGreaterThan(20)
  const problems = found.flatMap(({ line, text }) =>
    [...text.matchAll(/`([^`]+)`/g)].flatMap(([, code]) => unknown(code!).map((name) => `${file}:${line}: ${name}`)),
  )
  expect(problems).toEqual([])
})
