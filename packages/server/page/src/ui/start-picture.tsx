/** The field for a start image, or the depth map of models that draw by one: drop, paste or choose. */
import { useSignal } from '@preact/signals'
import { say, sayError } from '../state/say.js'
import { details } from '../state/server.js'
import { isSized, set, takesDepth, takesMask } from '../state/settings.js'
import { clearStart, isEditingMask, setMask, sizeFor, start, startFrom } from '../state/start-picture.js'
import { FileButton, IconButton } from './parts.js'

/** Sets the start image, and the matching size. */
export async function takeAsStart(file: Blob, editMask = false): Promise<void> {
  try {
    const picture = await startFrom(file)
    const model = details.peek()
    if (model && isSized.peek()) set(sizeFor(picture, model.defaults, model.sizeMultiple))
    isEditingMask.value = editMask
    if (!editMask) say(`${nameOf()} of ${picture.width} × ${picture.height} pixels`)
  } catch (error) {
    sayError(error)
  }
}

const nameOf = () => (takesDepth.value ? 'Depth map' : 'Start image')

export function StartPictureField() {
  const isOver = useSignal(false)
  const picture = start.value
  return (
    <div
      class={isOver.value ? 'drop over' : 'drop'}
      data-drop="start"
      onDragOver={() => (isOver.value = true)}
      onDragLeave={() => (isOver.value = false)}
      onDrop={() => (isOver.value = false)}
    >
      {picture ? (
        <>
          <img src={picture.url} alt={nameOf()} />
          <div class="drop-text">
            <p class="note">
              {picture.width} × {picture.height} pixels{picture.mask ? ', with a mask' : ''}
            </p>
            <div class="row wrap">
              {takesMask.value && (
                <IconButton
                  icon="brush"
                  label="Choose the area to repaint"
                  text={picture.mask ? 'Edit mask' : 'Paint a mask'}
                  onClick={() => (isEditingMask.value = true)}
                />
              )}
              {picture.mask && <IconButton icon="eraser" label="Remove mask" onClick={() => setMask(undefined)} />}
              <IconButton icon="close" label={`Remove ${nameOf().toLowerCase()}`} onClick={clearStart} />
            </div>
          </div>
        </>
      ) : (
        <>
          <p class="note">{takesDepth.value ? 'Drop or paste a depth map: white is near.' : 'Drop or paste an image to change it.'}</p>
          <FileButton label="Choose an image" accept="image/*" icon="image" onFile={(file) => void takeAsStart(file)} />
        </>
      )}
    </div>
  )
}
