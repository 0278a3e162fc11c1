/** Messages of the page, shown for a moment and announced to screen readers. */
import { signal } from '@preact/signals'

export interface Said {
  text: string
  bad: boolean
}

export const said = signal<Said | undefined>(undefined)
let timer: ReturnType<typeof setTimeout> | undefined

export function say(text: string, bad = false): void {
  clearTimeout(timer)
  said.value = { text, bad }
  timer = setTimeout(() => (said.value = undefined), bad ? 12_000 : 5_000)
}

export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

export const sayError = (error: unknown) => say(messageOf(error), true)

export const hush = () => (said.value = undefined)
