/** The generated images, stored in this browser (IndexedDB). */
import { computed, signal } from '@preact/signals'
import type { JobOptions } from '../api/job-options.js'
import { sayError } from './say.js'
import type { Settings } from './settings-type.js'

export interface Picture {
  id: number
  /** PNG. */
  file: Blob
  width: number
  height: number
  settings: Settings
  /** Settings in the web UI's format, as in the file. */
  infotext: string
  /** Milliseconds since 1970. */
  created: number
  /** The request for this image alone. Absent in the history of earlier versions, as is the next. */
  request?: JobOptions
  /** Its inputs besides the settings. */
  attached?: { image: boolean; mask: boolean; depthMap?: boolean }
  /** Job and number on the server, to store it only once. */
  origin: string
}

/** The oldest are dropped beyond this number. */
const maxPictures = 500

const newest = (a: Picture, b: Picture) => b.id - a.id

/** Newest first. */
export const pictures = signal<readonly Picture[]>([])
/** The displayed image; undefined: the running job. */
export const shown = signal<number | undefined>(undefined)
/** The other image of a comparison. */
export const compared = signal<number | undefined>(undefined)
const byId = computed(() => new Map(pictures.value.map((picture) => [picture.id, picture])))
export const shownPicture = computed(() => (shown.value === undefined ? undefined : byId.value.get(shown.value)))
export const comparedPicture = computed(() => (compared.value === undefined ? undefined : byId.value.get(compared.value)))

const urls = new Map<number, string>()
export function urlOf({ id, file }: Picture): string {
  let url = urls.get(id)
  if (url === undefined) urls.set(id, (url = URL.createObjectURL(file)))
  return url
}

const answered = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('The gallery could not be read'))
  })

let database: Promise<IDBDatabase> | undefined
function open(): Promise<IDBDatabase> {
  database ??= (() => {
    const request = indexedDB.open('latent', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('pictures', { keyPath: 'id', autoIncrement: true })
    return answered(request)
  })()
  return database
}

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return (await open()).transaction('pictures', mode).objectStore('pictures')
}

/** Without a database (private window), images are kept only while the page is open. */
let lastId = 0
async function keep(picture: Omit<Picture, 'id'>): Promise<number> {
  try {
    return Number(await answered((await store('readwrite')).add(picture)))
  } catch {
    return ++lastId
  }
}

export async function openGallery(): Promise<void> {
  try {
    const all = (await answered((await store('readonly')).getAll())) as Picture[]
    pictures.value = all.sort(newest)
    lastId = Math.max(0, ...all.map(({ id }) => id))
    shown.value = pictures.value[0]?.id
  } catch {
    pictures.value = []
  }
}

export const has = (origin: string) => pictures.peek().some((picture) => picture.origin === origin)

export async function addPicture(picture: Omit<Picture, 'id'>): Promise<Picture> {
  const id = await keep(picture)
  lastId = Math.max(lastId, id)
  const added = { ...picture, id }
  pictures.value = [added, ...pictures.peek()].sort(newest)
  for (const { id: old } of pictures.peek().slice(maxPictures)) await removePicture(old)
  return added
}

export async function removePicture(id: number): Promise<void> {
  const list = pictures.peek()
  const at = list.findIndex((picture) => picture.id === id)
  if (at < 0) return
  pictures.value = list.filter((picture) => picture.id !== id)
  if (shown.peek() === id) shown.value = (pictures.peek()[at] ?? pictures.peek()[at - 1])?.id
  if (compared.peek() === id) compared.value = undefined
  const url = urls.get(id)
  if (url !== undefined) URL.revokeObjectURL(url)
  urls.delete(id)
  try {
    await answered((await store('readwrite')).delete(id))
  } catch (error) {
    sayError(error)
  }
}

export async function removeAll(): Promise<void> {
  for (const { id } of [...pictures.peek()]) await removePicture(id)
}

/** The neighbour of the displayed image: -1 newer, 1 older. */
export function step(by: number): void {
  const list = pictures.peek()
  const at = list.findIndex(({ id }) => id === shown.peek())
  const next = list[Math.min(list.length - 1, Math.max(0, at + by))]
  if (next) shown.value = next.id
}
