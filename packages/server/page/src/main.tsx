import { render } from 'preact'
import './style.css'
import { openGallery } from './state/gallery.js'
import { resume } from './state/jobs.js'
import './state/looks.js'
import { connect } from './state/server.js'
import { settings } from './state/settings.js'
import { App } from './ui/app.js'
import { listenToPage } from './ui/keys.js'

render(<App />, document.getElementById('app')!)
listenToPage()
await Promise.all([connect(settings.peek().model), openGallery()])
await resume()
