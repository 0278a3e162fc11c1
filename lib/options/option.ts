/**
 * Options as data. A table has one row per option of a call: its check, its default, its fields in the engine's request, its flag on the command line, its name
 * in an image's settings. `satisfies Options<I>` compares a table with the public interface I, which has the documentation: a missing row, a surplus row or one
 * of another type does not compile.
 */
import type { InfotextValue } from '../infotext/words.js'
import type { AnyResolvedOptions, PipelineInfo } from '../types.js'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkName,
  checkNumber,
  checkString,
  invalidType,
  knownKeys,
  show,
  type Bounds,
} from './validate.js'

/** Aborts reading a flag; the message continues after the flag's name. */
export type Fail = (message: string) => never

/** Description of an option's flag. Its name is the option's in kebab case. */
export interface FlagText {
  /** The flag's name, if it differs from the option's. */
  readonly name?: string
  readonly short?: string
  /** Placeholder of the value in the help text. */
  readonly value?: string
  readonly help: string
  /** Help of `--no-NAME`, which sets a boolean option to false. */
  readonly negation?: string
  /** Converts the text on the command line to the option's value; undefined omits the option. */
  read?: (text: string, fail: Fail) => unknown
}

/** A row without its check. */
interface Traits<T, C> {
  /** The check rejects a missing value. */
  readonly required?: true
  /** The default. Without one a missing option stays missing, and the engine's default applies. */
  fallback?(context: C): T | undefined
  /** Fields of the engine's request. Default: the value under the option's name. */
  toNative?(value: T): Record<string, unknown>
  /** The flag, or why the option has none. */
  readonly flag: FlagText | string
  /** The key of the value in an image's settings. */
  readonly infotext?: string
  /** The fields in the settings, if they are more than the value. */
  toInfotext?(value: T, options: AnyResolvedOptions, info: PipelineInfo): Record<string, InfotextValue>
}

/** The value of a flag: none, a number, a text, or a list of texts if it can be repeated. */
type ValueType = 'boolean' | 'number' | 'other' | 'list'

/** One row of a table. `C` is the context of checks and defaults, usually the model's description. */
export interface Option<T, C = unknown> extends Traits<T, C> {
  readonly type: ValueType
  check(value: unknown, name: string, context: C): T
}

export type OptionTable<C = never> = Readonly<Record<string, Option<unknown, C>>>

/** The table for the interface `I`: exactly one row for each of its keys. */
export type Options<I, C = unknown> = { readonly [K in keyof I]-?: Option<NonNullable<I[K]>, C> }

/** The type of a row's checked value. */
type ValueOf<R> = R extends { check(value: unknown, name: string, context: never): infer T } ? T : never
/** Checked options; undefined only for rows without a default. */
export type Values<Table> = {
  [K in keyof Table]:
    | ValueOf<Table[K]>
    | (Table[K] extends { required: true } ? never : Table[K] extends { fallback(context: never): infer D } ? Extract<D, undefined> : undefined)
}

// ---- rows ------------------------------------------------------------------------------------------------------------

/** A row with a custom check. */
export function option<T, const R extends Traits<T, never>>(check: (value: unknown, name: string, context: never) => T, row: R) {
  return { ...row, type: 'other' as const, check }
}

export function number<const R extends Bounds & Traits<number, never>>(row: R) {
  return { ...row, type: 'number' as const, check: (value: unknown, name: string): number => checkNumber(value, name, row) }
}

/** A whole number. */
export function integer<const R extends Bounds & Traits<number, never>>(row: R) {
  return { ...row, type: 'number' as const, check: (value: unknown, name: string): number => checkInteger(value, name, row) }
}

export function boolean<const R extends Traits<boolean, never>>(row: R) {
  return { ...row, type: 'boolean' as const, check: (value: unknown, name: string): boolean => checkBoolean(value, name) }
}

export function text<const R extends { maxLength: number } & Traits<string, never>>(row: R) {
  return { ...row, type: 'other' as const, check: (value: unknown, name: string): string => checkString(value, name, row.maxLength) }
}

/** One of a list of names. */
export function choice<const N extends string, const R extends Traits<N, never>>(row: { readonly names: readonly N[] } & R) {
  return { ...row, type: 'other' as const, check: (value: unknown, name: string): N => checkName(value, name, row.names) }
}

/** A function of the type `F`. */
export function callback<F>(row: Traits<F, never>) {
  return { ...row, type: 'other' as const, check: (value: unknown, name: string): F => checkFunction<F>(value, name) }
}

// ---- reading ---------------------------------------------------------------------------------------------------------

/** Checks the values of known keys; missing ones get their default, if any. `prefix` precedes the keys in messages. */
export function checkOptions<C, Table extends OptionTable<C>>(
  table: Table,
  given: Readonly<Record<string, unknown>>,
  context: C,
  prefix = '',
): Values<Table> {
  const values: Record<string, unknown> = {}
  for (const [key, row] of Object.entries(table)) {
    const isGiven = given[key] !== undefined || row.required
    const value = isGiven ? row.check(given[key], prefix + key, context) : row.fallback?.(context)
    if (value !== undefined) values[key] = value
  }
  return values as Values<Table>
}

/** Rejects unknown keys, then checks the values. `where` names the call in messages. */
export function readOptions<C, Table extends OptionTable<C>>(table: Table, options: unknown, where: string, context: C): Values<Table> {
  return checkOptions(table, knownKeys(options, where, Object.keys(table)), context)
}

/** The same for an option that is an object. */
export function readNested<C, Table extends OptionTable<C>>(table: Table, value: unknown, name: string, context: C): Values<Table> {
  return checkOptions(table, knownKeys(value, name, Object.keys(table)), context, `${name}.`)
}

/** The fields of the engine's request. */
export function nativeFields<Table extends OptionTable>(table: Table, values: Values<Table>): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [key, row] of Object.entries(table)) {
    const value: unknown = values[key as keyof Table]
    if (value !== undefined) Object.assign(fields, row.toNative ? row.toNative(value) : { [key]: value })
  }
  return fields
}

/** The fields of an image's settings. */
export function infotextFields(table: OptionTable, options: AnyResolvedOptions, info: PipelineInfo): Record<string, InfotextValue> {
  const fields: Record<string, InfotextValue> = {}
  for (const [key, row] of Object.entries(table)) {
    const value = (options as unknown as Record<string, unknown>)[key]
    if (value === undefined) continue
    if (row.infotext !== undefined) fields[row.infotext] = value as InfotextValue
    Object.assign(fields, row.toInfotext?.(value, options, info))
  }
  return fields
}

/** The given values that are in a table. */
export function only(given: Readonly<Record<string, unknown>>, table: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(table, key)))
}

/** A table with some of the rows. */
export function pick<Table extends object, const K extends keyof Table>(table: Table, ...keys: K[]): Pick<Table, K> {
  return Object.fromEntries(keys.map((key) => [key, table[key]])) as Pick<Table, K>
}

/** A table without some rows. */
export function omit<Table extends object, const K extends keyof Table>(table: Table, ...keys: K[]): Omit<Table, K> {
  return Object.fromEntries(Object.entries(table).filter(([key]) => !(keys as PropertyKey[]).includes(key))) as Omit<Table, K>
}

/** Fails unless `value` is an object. */
export function checkObject(value: unknown, name: string): Record<string, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`${name} must be an object, not ${show(value)}`)
  return value as Record<string, unknown>
}
