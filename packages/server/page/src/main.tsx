import { effect, untracked } from '@preact/signals'
import { render } from 'preact'
import './style.css'
import { openGallery } from './state/gallery.js'
import { resume, running } from './state/jobs.js'
import './state/looks.js'
import { connect, online } from './state/server.js'
import { settings } from './state/settings.js'
import { App } from './ui/app.js'
import { listenToPage } from './ui/keys.js'
import { describe } from './ui/stage.js'

render(<App />, document.getElementById('app')!)
listenToPage()
// Seen in another tab, too.
effect(() => {
  document.title = running.value ? `${describe(running.value)} · Latent` : 'Latent'
})
await Promise.all([connect(settings.peek().model), openGallery()])
// Once there is a server to ask: a token may be wanted first.
const resumed = effect(() => {
  if (!online.value) return
  queueMicrotask(() => resumed())
  void untracked(resume)
})
