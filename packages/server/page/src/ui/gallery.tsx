/** The generated images, as a strip. */
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { pictures, removeAll, removePicture, shown, step, urlOf } from '../state/gallery.js'
import { Dialog, IconButton } from './parts.js'

export function Gallery() {
  const list = useRef<HTMLDivElement>(null)
  const isAsking = useSignal(false)
  const all = pictures.value
  const current = shown.value

  useEffect(() => {
    const element = list.current?.querySelector<HTMLElement>('[aria-selected=true]')
    element?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
    // The focus follows while it is in the strip.
    if (element && list.current?.contains(document.activeElement)) element.focus()
  }, [current])

  if (all.length === 0) return null
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Home') shown.value = all[0]?.id
    else if (event.key === 'End') shown.value = all.at(-1)?.id
    else if (event.key === 'Delete' && current !== undefined) void removePicture(current)
    else return
    event.preventDefault()
  }
  return (
    <section class="gallery" aria-label="Gallery">
      <div class="gallery-head">
        <p class="note">
          {all.length} {all.length === 1 ? 'image' : 'images'}, kept in this browser
        </p>
        <IconButton icon="left" label="Newer image" onClick={() => step(-1)} />
        <IconButton icon="right" label="Older image" onClick={() => step(1)} />
        <IconButton icon="trash" label="Delete all images" onClick={() => (isAsking.value = true)} />
      </div>
      <div class="strip" role="listbox" aria-label="Images" aria-orientation="horizontal" ref={list} onKeyDown={onKeyDown}>
        {all.map((picture, i) => (
          <div
            key={picture.id}
            role="option"
            aria-selected={picture.id === current}
            tabIndex={picture.id === current || (current === undefined && i === 0) ? 0 : -1}
            class="thumb"
            title={picture.settings.prompt}
            onClick={() => (shown.value = picture.id)}
            onKeyDown={(event) => (event.key === 'Enter' || event.key === ' ') && (event.preventDefault(), (shown.value = picture.id))}
          >
            <img
              src={urlOf(picture)}
              alt={`${picture.settings.prompt || 'No prompt'}, seed ${picture.settings.seed}`}
              loading="lazy"
              decoding="async"
            />
          </div>
        ))}
      </div>
      {isAsking.value && (
        <Dialog title="Delete all images?" onClose={() => (isAsking.value = false)}>
          <p>The {all.length} images of this gallery are kept nowhere else. This cannot be undone.</p>
          <div class="row end">
            <button type="button" class="button" onClick={() => (isAsking.value = false)}>
              Keep them
            </button>
            <button type="button" class="button danger" onClick={() => ((isAsking.value = false), void removeAll())}>
              Delete
            </button>
          </div>
        </Dialog>
      )}
    </section>
  )
}
