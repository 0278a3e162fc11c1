/** The server: description, status, and the page's current model. */
import { computed, effect, signal } from '@preact/signals'
import { api, ServerError, setToken, type Model, type ModelDetails, type ServerInfo, type ServerStatus } from '../api/client.js'
import { follow } from '../api/events.js'
import { messageOf } from './say.js'

export const server = signal<ServerInfo | undefined>(undefined)
export const status = signal<ServerStatus | undefined>(undefined)
export const models = signal<Model[]>([])
export const details = signal<ModelDetails | undefined>(undefined)
export const online = signal(false)
/** The server requires a token. */
export const locked = signal(false)
/** Why the page cannot start. */
export const failure = signal<string | undefined>(undefined)

export async function choose(name: string): Promise<void> {
  details.value = await api.model(name)
}

export async function connect(preferred: string): Promise<void> {
  try {
    const [info, list] = await Promise.all([api.server(), api.models()])
    server.value = info
    models.value = list
    const name = list.some((model) => model.name === preferred) ? preferred : info.defaultModel
    await choose(name)
    locked.value = false
    failure.value = undefined
    online.value = true
    listen()
  } catch (error) {
    if (error instanceof ServerError && error.status === 401) locked.value = true
    else {
      failure.value = messageOf(error)
      setTimeout(() => void connect(preferred), 2000)
    }
  }
}

export function unlock(token: string, preferred: string): Promise<void> {
  setToken(token)
  return connect(preferred)
}

let listening: AbortController | undefined
function listen(): void {
  listening?.abort()
  listening = new AbortController()
  follow<ServerStatus>(api.statusEvents, {
    signal: listening.signal,
    onEvent: (now) => void (status.value = now),
    onConnection: (open) => (online.value = open),
  }).catch((error: unknown) => {
    if (error instanceof ServerError && error.status === 401) locked.value = true
    online.value = false
  })
}

/** The list of models is read again when the loaded models change. */
const loaded = computed(() => status.value?.loaded.join() ?? '')
effect(() => {
  if (loaded.value === '' && models.peek().length === 0) return
  api.models().then(
    (list) => (models.value = list),
    () => undefined,
  )
})
