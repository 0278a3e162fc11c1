/** Keyboard shortcuts, dropping and pasting on the whole page. */
import { signal } from '@preact/signals'
import { step } from '../state/gallery.js'
import { cancel, generate, running } from '../state/jobs.js'
import { say, sayError } from '../state/say.js'
import { details } from '../state/server.js'
import { apply } from '../state/settings.js'
import { fromInfotext } from '../tools/from-infotext.js'
import { readPngText } from '../tools/png.js'
import { takeAsStart } from './start-picture.js'

export const isShowingKeys = signal(false)

/** Elements that handle arrow keys and letters themselves when focused. */
const takesKeys = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && (target as HTMLInputElement).type !== 'checkbox'))

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void generate()
  else if (event.key === 'Escape' && running.peek()) void cancel(running.peek()!.key)
  else if (event.ctrlKey || event.metaKey || event.altKey || takesKeys(event.target)) return
  else if (event.key === 'ArrowLeft') step(-1)
  else if (event.key === 'ArrowRight') step(1)
  else if (event.key === '?') isShowingKeys.value = true
  else return
  event.preventDefault()
}

/** Applies the settings in an image; an image without settings becomes the start image. */
export async function takeFile(file: File): Promise<void> {
  try {
    const model = details.peek()
    const isPng = file.type === 'image/png' || /\.png$/i.test(file.name)
    const text = isPng ? await readPngText(new Uint8Array(await file.arrayBuffer()), 'parameters') : undefined
    const found = text === undefined ? undefined : fromInfotext(text, { samplers: model?.samplers ?? [], schedules: model?.schedules ?? [] })
    if (!found) return await takeAsStart(file)
    apply(found)
    say('Settings of the image applied')
  } catch (error) {
    sayError(error)
  }
}

function onDrop(event: DragEvent): void {
  const file = event.dataTransfer?.files[0]
  event.preventDefault()
  document.documentElement.classList.remove('dropping')
  if (!file) return
  const isStart = event.target instanceof Element && event.target.closest('[data-drop=start]')
  void (isStart ? takeAsStart(file) : takeFile(file))
}

export function listenToPage(): void {
  addEventListener('keydown', onKey)
  addEventListener('dragover', (event) => {
    event.preventDefault()
    document.documentElement.classList.add('dropping')
  })
  addEventListener('dragleave', (event) => event.relatedTarget === null && document.documentElement.classList.remove('dropping'))
  addEventListener('drop', onDrop)
  addEventListener('paste', (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'))
    if (!file) return
    event.preventDefault()
    void takeAsStart(file)
  })
}
