/** A request as text for use elsewhere. */
import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { addressOf, hasToken } from '../api/client.js'
import { say } from '../state/say.js'
import { optionsOf } from '../state/settings.js'
import type { Picture } from '../state/gallery.js'
import { asCommand, asCurl, asJavaScript } from '../tools/copy-as.js'
import { Dialog } from './parts.js'

const forms = [
  ['curl', 'curl'],
  ['js', 'JavaScript'],
  ['cli', 'Command line'],
] as const

export function CopyDialog({ picture, onClose }: { picture: Picture; onClose: () => void }) {
  const form = useSignal<(typeof forms)[number][0]>('curl')
  const code = useRef<HTMLPreElement>(null)
  const attached = picture.attached ?? { image: false, mask: false }
  const options = picture.request ?? optionsOf(picture.settings, attached.image)
  const text =
    form.value === 'curl'
      ? asCurl(addressOf('').replace(/\/$/, ''), options, attached, hasToken())
      : form.value === 'js'
        ? asJavaScript(options, attached)
        : asCommand(options, attached)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      say('Copied')
    } catch {
      // Pages without TLS have no clipboard access: the text is selected for copying with the keyboard.
      getSelection()?.selectAllChildren(code.current!)
      say('The text is selected; copy it with the keyboard')
    }
  }
  return (
    <Dialog title="Use this request elsewhere" onClose={onClose}>
      <div class="segments" role="group" aria-label="Form">
        {forms.map(([name, title]) => (
          <button key={name} type="button" aria-pressed={form.value === name} onClick={() => (form.value = name)}>
            {title}
          </button>
        ))}
      </div>
      <pre class="code" ref={code} tabIndex={0} aria-label="Request">
        {text}
      </pre>
      <div class="row end">
        <button type="button" class="button primary" onClick={() => void copy()}>
          Copy
        </button>
      </div>
    </Dialog>
  )
}
