/** Appearance of the page: colour scheme (system or chosen) and available width. */
import { effect, signal } from '@preact/signals'
import { kept } from './kept.js'

export const looks = ['system', 'light', 'dark', 'contrast'] as const
export type Look = (typeof looks)[number]

export const look = kept<Look>('look', 'system', (value): value is Look => looks.includes(value as Look))

effect(() => {
  document.documentElement.dataset.look = look.value
})

const narrow = matchMedia('(max-width: 860px)')
/** One column, as in the style sheet. */
export const isNarrow = signal(narrow.matches)
narrow.addEventListener('change', () => (isNarrow.value = narrow.matches))
