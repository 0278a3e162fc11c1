/** The whole page. */
import { useSignal } from '@preact/signals'

import { details, failure, locked, online, server, status, unlock } from '../state/server.js'
import { look, looks, type Look } from '../state/looks.js'
import { settings } from '../state/settings.js'
import { isEditingMask, start } from '../state/start-picture.js'
import { isShowingKeys } from './keys.js'
import { MaskEditor } from '../mask/editor.js'
import { command, Form } from './form.js'
import { Gallery } from './gallery.js'
import { Dialog, IconButton, Status } from './parts.js'
import { Queue } from './queue.js'
import { Stage } from './stage.js'

const lookNames: Record<Look, string> = { system: 'System', light: 'Light', dark: 'Dark', contrast: 'High contrast' }

const keys = [
  [`${command}+Enter`, 'Generate, or add to the queue'],
  ['Escape', 'Cancel the running image'],
  [`${command}+↑  ${command}+↓`, 'Weight of the selected words'],
  ['Alt+↑  Alt+↓', 'Earlier and later prompts'],
  ['←  →', 'Newer and older images'],
  ['Delete', 'Delete the image, in the gallery'],
  ['?', 'This list'],
] as const

function Keys() {
  if (!isShowingKeys.value) return null
  return (
    <Dialog title="Keys" onClose={() => (isShowingKeys.value = false)}>
      <dl class="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="note">
        Drop a PNG that this program or a web UI made anywhere on the page: its settings fill the fields. Dropped on the start image, or pasted, an
        image is changed.
      </p>
    </Dialog>
  )
}

function engine(): string {
  if (!server.value) return 'Connecting'
  if (!online.value) return 'No connection'
  const now = status.value
  if (!now) return 'Connected'
  if (now.running) return now.queued > 0 ? `Drawing, ${now.queued} waiting` : 'Drawing'
  if (now.engine === 'starting') return 'Starting'
  return now.loaded.length > 0 ? 'Ready' : 'Idle'
}

function Header() {
  return (
    <header class="top">
      <h1>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="9" />
          <circle cx="12.5" cy="13" r="5" />
          <path d="M4 26l8-8 5 5 6-8 5 7v4z" />
        </svg>
        Latent
      </h1>
      <p class={online.value || !server.value ? 'engine' : 'engine warn'}>
        <span class={status.value?.running ? 'dot busy' : 'dot'} aria-hidden="true" />
        {engine()}
        {details.value && <span class="engine-model">{details.value.title}</span>}
      </p>
      <div class="row">
        <label class="look">
          <span class="hidden">Colours</span>
          <select value={look.value} onChange={(event) => (look.value = event.currentTarget.value as Look)}>
            {looks.map((name) => (
              <option key={name} value={name} selected={name === look.value}>
                {lookNames[name]}
              </option>
            ))}
          </select>
        </label>
        <IconButton icon="keyboard" label="Keys" onClick={() => (isShowingKeys.value = true)} />
      </div>
    </header>
  )
}

function Locked() {
  const token = useSignal('')
  return (
    <main class="locked">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void unlock(token.value, settings.peek().model)
        }}
      >
        <h1>Latent</h1>
        <div class="field">
          <label for="token">Token of this server</label>
          <input
            id="token"
            type="password"
            autocomplete="current-password"
            value={token.value}
            onInput={(event) => (token.value = event.currentTarget.value)}
          />
        </div>
        <button type="submit" class="button primary">
          Open
        </button>
      </form>
    </main>
  )
}

export function App() {
  if (locked.value) return <Locked />
  const picture = start.value
  return (
    <>
      <Header />
      <main class="columns">
        {details.value ? <Form /> : <p class="form waiting">{failure.value ?? 'Reading the model'}</p>}
        <div class="right">
          <Stage />
          <Queue />
          <Gallery />
        </div>
      </main>
      <Status />
      <Keys />
      {isEditingMask.value && picture && <MaskEditor picture={picture} />}
    </>
  )
}
