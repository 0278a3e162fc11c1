/** Commands and their flags. */
import { parseArgs } from 'node:util'
import { readNumber } from '../options/flag-text.js'
import { optionsOfFlags } from '../options/flags.js'
import type { OptionTable } from '../options/option.js'
import { nearestName } from '../options/suggest.js'

/** A flag of a command. Its name is the API's option in kebab case. */
export interface Flag {
  /** `number` takes any number, `text` a string, `texts` one each time it is given, `switch` nothing. */
  kind: 'text' | 'texts' | 'number' | 'switch'
  short?: string
  /** Placeholder of the value in the help text. */
  value?: string
  help: string
}

export type Flags = Record<string, Flag>

/** Flags of long-running commands with a report. */
export const reportFlags = {
  json: { kind: 'switch', help: 'print the report as JSON' },
  quiet: { kind: 'switch', short: 'q', help: 'no progress bar and no report' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

/** The values of the given flags. */
export type FlagValues<F extends Flags> = {
  [K in keyof F]?: F[K]['kind'] extends 'switch' ? boolean : F[K]['kind'] extends 'number' ? number : F[K]['kind'] extends 'texts' ? string[] : string
}

/** A command's output streams and abort signal. */
export interface Io {
  stdout: NodeJS.WritableStream
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
}

/** A command of `latent`. */
export interface Command {
  name: string
  summary: string
  /** The usage line after the command's name. */
  usage: string
  flags: Flags
  /** Further text at the end of the help. */
  notes?: string
  run(argv: string[], io: Io): Promise<void>
}

/** A wrong command line: exit code 2. */
export class UsageError extends Error {}

/** A failure that the command has already reported: exit code 1. */
export class ReportedFailure extends Error {}

function parseOptions(flags: Flags) {
  return Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [
      name,
      {
        type: flag.kind === 'switch' ? ('boolean' as const) : ('string' as const),
        ...(flag.kind === 'texts' ? { multiple: true } : {}),
        ...(flag.short ? { short: flag.short } : {}),
      },
    ]),
  )
}

function parseError(error: unknown, flags: Flags): Error {
  const { code, message } = error as Error & { code?: string }
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const given = /'(-[^']*)'/.exec(message)?.[1] ?? ''
    const near = nearestName(given.replace(/^-+/, ''), Object.keys(flags))
    return new UsageError(`unknown option ${given}${near ? `; did you mean --${near}?` : ''}`)
  }
  const dashed = /^Option '(?:-\w, )?(--?[\w-]+)[^']*' argument is ambiguous/.exec(message)?.[1]
  if (dashed) {
    const long = dashed.startsWith('--') ? dashed : `--${Object.keys(flags).find((name) => `-${flags[name]!.short}` === dashed) ?? ''}`
    return new UsageError(`${dashed} has no value; write a value that starts with a dash as ${long}=-VALUE`)
  }
  if (code?.startsWith('ERR_PARSE_ARGS')) return new UsageError(message.split('\n')[0]!.split('. To specify')[0])
  return error as Error
}

function fail(message: string): never {
  throw new UsageError(message)
}

/** `--seed -1` as `--seed=-1`: after a flag with a number, a negative number is not a flag. */
function joinNegative(flags: Flags, argv: readonly string[]): string[] {
  const joined: string[] = []
  let open = true
  for (const argument of argv) {
    const last = joined.at(-1)
    const name = last?.startsWith('--') ? last.slice(2) : ''
    const takesNumber = open && Object.hasOwn(flags, name) && (/^(variation-)?seed$/.test(name) || flags[name]!.kind === 'number')
    if (takesNumber && /^-\d/.test(argument)) joined.push(`${joined.pop()!}=${argument}`)
    else joined.push(argument)
    open &&= argument !== '--'
  }
  return joined
}

/** Reads flags and positional arguments; throws UsageError naming what is wrong. */
export function readFlags<F extends Flags>(
  flags: F,
  argv: string[],
  positionals: { min: number; max: number; names: string },
): { values: FlagValues<F>; positionals: string[] } {
  let parsed: { values: Record<string, unknown>; positionals: string[] }
  try {
    parsed = parseArgs({ args: joinNegative(flags, argv), options: parseOptions(flags), allowPositionals: positionals.max > 0, strict: true })
  } catch (error) {
    throw parseError(error, flags)
  }
  const { length } = parsed.positionals
  if (length < positionals.min || length > positionals.max)
    throw new UsageError(`expected ${positionals.names}, but got ${length === 0 ? 'nothing' : parsed.positionals.join(' ')}`)
  const values: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(parsed.values)) {
    values[name] = flags[name]!.kind === 'number' ? readNumber(value as string, (message) => fail(`--${name}${message}`)) : value
  }
  return { values: values as FlagValues<F>, positionals: parsed.positionals }
}

/** The options for the flags of a table. */
export function readOptionFlags(table: OptionTable, values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return optionsOfFlags(table, values, (message) => new UsageError(message))
}

/** `1 step`, `2 steps`. */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

/** Bytes in a readable unit: `1.23 GB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const
  const power = Math.min(units.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3))
  const value = bytes / 1000 ** power
  return `${power === 0 ? Math.round(value) : value.toFixed(power < 3 ? 1 : 2)} ${units[power]}`
}

/** A list of names for the help, in lines that fit a wide terminal. */
export function wrapNames(title: string, names: readonly string[]): string {
  const lines = [title]
  for (const name of names) {
    const last = lines.at(-1)!
    if (last.length + name.length < 140) lines[lines.length - 1] = `${last} ${name}`
    else lines.push(`${' '.repeat(title.length)} ${name}`)
  }
  return lines.join('\n')
}

/** Help text of a command. */
export function helpText(command: Command): string {
  const rows = Object.entries(command.flags).map(([name, { short, kind, value, help }]) => {
    const left = `${short ? `-${short}, ` : '    '}--${name}${kind === 'switch' ? '' : ` ${value ?? (kind === 'number' ? 'N' : 'TEXT')}`}`
    return [left, help] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  const lines = rows.map(([left, help]) => `  ${left.padEnd(width)}${help}`)
  return [
    `latent ${command.name}: ${command.summary}`,
    '',
    `usage: latent ${command.name} ${command.usage}`,
    '',
    ...lines,
    ...(command.notes ? ['', command.notes] : []),
    '',
  ].join('\n')
}

/** JSON output: bigints as numbers if they fit, typed arrays as lists. */
export function toJson(value: unknown): string {
  const replace = (_key: string, item: unknown): unknown => {
    if (typeof item === 'bigint') return item <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(item) : String(item)
    return item instanceof Float32Array ? Array.from(item) : item
  }
  return `${JSON.stringify(value, replace, 2)}\n`
}
