/** Values kept in the browser's local storage, if available. */
import { effect, signal, type Signal } from '@preact/signals'

export function kept<T>(key: string, usual: T, isValid: (value: unknown) => value is T): Signal<T> {
  const name = `latent-${key}`
  const value = signal(usual)
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(name) ?? 'null')
    if (isValid(stored)) value.value = stored
  } catch {
    // Unreadable values count as missing.
  }
  effect(() => {
    const text = JSON.stringify(value.value)
    try {
      localStorage.setItem(name, text)
    } catch {
      // Storage is full or disabled: the page works without it.
    }
  })
  return value
}

export const isText = (value: unknown): value is string => typeof value === 'string'
export const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)
