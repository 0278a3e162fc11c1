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
// Visible in other tabs, too.
effect(() => {
  document.title = running.value ? `${describe(running.value)} · Latent` : 'Latent'
})
await Promise.all([connect(settings.peek().model), openGallery()])
// Once the server can be reached; it may require a token first.
const resumed = effect(() => {
  if (!online.value) return
  queueMicrotask(() => resumed())
  void untracked(resume)
})
