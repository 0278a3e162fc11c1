/** Classes by name: the list of a model's classes, and the number of a name. */
import { nearestName } from '../options/suggest.js'
import { checkInteger, invalidRange, invalidType, show } from '../options/validate.js'
import { synonymsOf, type LabelListName } from './lists.js'

/** The list of a model's classes, by its kind and their number, because the weights do not tell it. For other numbers the names are unknown. */
const lists: { kind: string; counts: number[]; list: LabelListName }[] = [
  // 1001: the last one is the null class, see nullClass.
  { kind: 'class', counts: [1000, 1001], list: 'imagenet-1k' },
  { kind: 'layout', counts: [340], list: 'open-images' },
  { kind: 'layout', counts: [171], list: 'coco-stuff-171' },
  { kind: 'semantic', counts: [182], list: 'coco-stuff' },
]

/** Case, hyphens and underscores are ignored. */
function normalise(label: string): string {
  return label
    .toLowerCase()
    .replace(/[\s_-]+/g, ' ')
    .trim()
}

const maxLabelLength = 256
const suggestions = 3

/** A list of classes with their names. */
export class Labels {
  /** The usual name of each class, by number. A name may occur twice: ImageNet has two cranes. */
  readonly names: readonly string[]
  /** Numbers of the classes with a name, those with it as their usual name first. */
  readonly #ids = new Map<string, number[]>()
  readonly #usual = new Set<string>()

  /** All names of each class, the usual one first, by number. */
  constructor(synonyms: readonly (readonly string[])[]) {
    this.names = synonyms.map(([first]) => first!)
    this.names.forEach((name, id) => this.#add(name, id))
    for (const name of this.names) this.#usual.add(normalise(name))
    synonyms.forEach((all, id) => [...all.slice(1), all.join(', ')].forEach((name) => this.#add(name, id)))
  }

  #add(name: string, id: number): void {
    const key = normalise(name)
    const ids = this.#ids.get(key)
    if (!ids) this.#ids.set(key, [id])
    else if (!ids.includes(id)) ids.push(id)
  }

  /**
   * The number of a class by any of its names. A usual name takes precedence over a synonym of another class; then case decides (a Cardigan is a dog).
   * @param option the option's name, for messages
   * @throws RangeError with code `ERR_INVALID_ARG` for an unknown or ambiguous name; the message suggests the nearest
   */
  idOf(label: string, option: string): number {
    const key = normalise(label)
    const ids = this.#ids.get(key) ?? []
    if (ids.length === 1) return ids[0]!
    const usual = this.#usual.has(key) ? ids.filter((id) => normalise(this.names[id]!) === key) : ids
    if (usual.length === 1) return usual[0]!
    const exact = usual.filter((id) => this.names[id] === label)
    if (exact.length === 1) return exact[0]!
    if (usual.length > 1) throw invalidRange(`${option}: several classes are called ${show(label)}; give the number: ${usual.join(' or ')}`)
    const near = this.#near(key)
    const hint = near.length > 0 ? ` Did you mean ${near.map((id) => `'${this.names[id]!}' (${id})`).join(', ')}?` : ''
    throw invalidRange(`${option}: no class is called ${show(label)}.${hint}`)
  }

  /** Classes with all words of a label in one of their names, the shortest first; else the one with the most similar spelling. */
  #near(key: string): number[] {
    const words = key.split(' ').filter((word) => word !== '')
    const holding = [...this.#ids.keys()].filter((name) => words.length > 0 && words.every((word) => name.includes(word)))
    holding.sort((a, b) => a.length - b.length)
    const spelt = holding.length > 0 ? undefined : nearestName(key, [...this.#ids.keys()])
    const names = spelt === undefined ? holding : [spelt]
    return [...new Set(names.flatMap((name) => this.#ids.get(name)!))].slice(0, suggestions)
  }
}

const loaded = new Map<LabelListName, Labels>()

/** The list of a model's classes (categories of a layout, labels of a semantic map); undefined if it is not known. */
export function labelsOf(kind: string, count: number): Labels | undefined {
  const list = lists.find((entry) => entry.kind === kind && entry.counts.includes(count))?.list
  if (list === undefined) return undefined
  const labels = loaded.get(list) ?? new Labels(synonymsOf(list))
  loaded.set(list, labels)
  return labels
}

/**
 * A class given by its number or one of its names.
 * @param option the option's name, for messages
 * @param count classes of the model
 * @param labels their names, if the model has its own
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG`
 */
export function checkLabel(value: unknown, option: string, kind: string, count: number, labels = labelsOf(kind, count)): number {
  if (typeof value === 'number') return checkInteger(value, option, { min: 0, max: count - 1 })
  if (typeof value !== 'string') throw invalidType(`${option} must be the number or the name of a class, not ${show(value)}`)
  if (/^\s*\d{1,9}\s*$/.test(value)) return checkInteger(Number(value), option, { min: 0, max: count - 1 })
  if (value.length > maxLabelLength) throw invalidRange(`${option} has ${value.length} characters; the name of a class has at most ${maxLabelLength}`)
  if (!labels)
    throw invalidRange(
      `${option}: the names of this model's classes are not known, so ${show(value)} cannot be resolved; give a number from 0 to ${count - 1}`,
    )
  return labels.idOf(value, option)
}
