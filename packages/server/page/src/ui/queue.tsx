/** Unfinished jobs of this page. */
import { active, cancel, move } from '../state/jobs.js'
import { describe, share } from './stage.js'
import { IconButton } from './parts.js'

export function Queue() {
  const list = active.value
  if (list.length < 2) return null
  const waiting = list.filter(({ status }) => status === 'queued')
  return (
    <section class="queue" aria-label="Queue">
      <h2>Queue</h2>
      <ol>
        {list.map((job) => {
          const name = job.settings.prompt || 'No prompt'
          const place = waiting.indexOf(job)
          return (
            <li key={job.key}>
              <p class="queue-prompt">{name}</p>
              <p class="note">{describe(job)}</p>
              {job.status === 'running' && <progress aria-label={`Progress of ${name}`} max={1} value={share(job)} />}
              <div class="row">
                {place > 0 && <IconButton icon="up" label={`Earlier: ${name}`} onClick={() => void move(job.key, -1)} />}
                {place >= 0 && place < waiting.length - 1 && (
                  <IconButton icon="down" label={`Later: ${name}`} onClick={() => void move(job.key, 1)} />
                )}
                <IconButton icon="close" label={`Remove from the queue: ${name}`} onClick={() => void cancel(job.key)} />
              </div>
            </li>
          )
        })}
      </ol>
    </section>
  )
}
