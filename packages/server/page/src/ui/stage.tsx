/** The running job's preview, an image, or a comparison of two. */
import { useSignal } from '@preact/signals'
import { compared, comparedPicture, pictures, removePicture, shown, shownPicture, step, urlOf, type Picture } from '../state/gallery.js'
import { dismiss, failed, running, warnings, type PageJob } from '../state/jobs.js'
import { say } from '../state/say.js'
import { apply, seedLocked, set } from '../state/settings.js'
import { duration } from '../tools/format.js'
import { CopyDialog } from './copy.js'
import { IconButton, save } from './parts.js'
import { takeAsStart } from './start-picture.js'

const phases: Record<string, string> = {
  download: 'Downloading the model',
  load: 'Loading the model',
  encode: 'Reading the prompt',
  sample: 'Drawing',
  decode: 'Finishing the image',
  convert: 'Converting',
}

export function describe({ status, position, progress }: PageJob): string {
  if (status === 'sending') return 'Sending'
  if (status === 'saving') return 'Fetching the image'
  if (status === 'queued') return position ? `Waiting, ${position} before it` : 'Next'
  if (!progress) return 'Starting'
  const { phase, step: done, steps } = progress
  if (phase !== 'sample' || steps === 0) return phases[phase] ?? phase
  return `Step ${done} of ${steps}`
}

/** Progress from 0 to 1; undefined if unknown. */
export function share({ status, progress }: PageJob): number | undefined {
  if (status === 'saving') return 1
  if (!progress || progress.steps === 0) return undefined
  if (progress.phase === 'decode') return 1
  return progress.phase === 'encode' ? 0 : progress.step / progress.steps
}

function Progress({ job }: { job: PageJob }) {
  const part = share(job)
  const eta = job.progress?.phase === 'sample' ? job.progress.etaMs : null
  return (
    <div class="progress-line">
      <progress aria-label="Progress of the image" max={1} value={part} />
      <p class="note">
        <span>{describe(job)}</span>
        {eta !== null && eta !== undefined && <span>{duration(eta)} left</span>}
      </p>
    </div>
  )
}

function Live({ job }: { job: PageJob }) {
  const { width, height } = job.settings
  return (
    <figure class="picture live" style={{ '--w': width, '--h': height }}>
      <div class="room">
        <div class="frame">
          {job.preview ? <img class="preview" src={job.preview.url} alt="Preview of the running image" /> : <div class="blank" />}
        </div>
      </div>
      <Progress job={job} />
    </figure>
  )
}

function Compare({ before, after }: { before: Picture; after: Picture }) {
  const at = useSignal(50)
  return (
    <figure class="picture" style={{ '--w': after.width, '--h': after.height }}>
      <div class="room">
        <div class="frame compare" style={{ '--at': `${at.value}%` }}>
          <img src={urlOf(before)} alt={`Compared with: ${before.settings.prompt}`} />
          <img class="after" src={urlOf(after)} alt={after.settings.prompt} />
          <span class="divider" aria-hidden="true" />
          <input
            type="range"
            min={0}
            max={100}
            value={at.value}
            aria-label="How much of the first image is shown"
            onInput={(event) => (at.value = Number(event.currentTarget.value))}
          />
        </div>
      </div>
      <div class="bar">
        <p class="note">
          Seed {before.settings.seed} on the left, {after.settings.seed} on the right. Choose another picture below.
        </p>
        <IconButton icon="close" label="End the comparison" text="Done" onClick={() => (compared.value = undefined)} />
      </div>
    </figure>
  )
}

const fileName = ({ settings: { seed, prompt } }: Picture) =>
  `${
    prompt
      .replace(/[^\p{L}\p{N}]+/gu, '-')
      .slice(0, 48)
      .replace(/^-|-$/g, '') || 'picture'
  }-${seed}.png`

function Shown({ picture }: { picture: Picture }) {
  const isCopying = useSignal(false)
  const { settings, width, height } = picture
  return (
    <figure class="picture" style={{ '--w': width, '--h': height }}>
      <div class="room">
        <div class="frame">
          <img src={urlOf(picture)} alt={settings.prompt || 'Image without a prompt'} width={width} height={height} />
        </div>
      </div>
      <div class="bar">
        <div class="row wrap" role="group" aria-label="This image">
          <IconButton
            icon="lock"
            label="Use the seed of this image"
            text="Use seed"
            onClick={() => {
              set({ seed: settings.seed })
              seedLocked.value = true
              say(`Seed ${settings.seed} is kept`)
            }}
          />
          <IconButton
            icon="undo"
            label="Use all settings of this image"
            text="Use all"
            onClick={() => {
              apply(settings)
              say('Settings of this image applied')
            }}
          />
          <IconButton icon="image" label="Start from this image" text="Start from it" onClick={() => void takeAsStart(picture.file)} />
          <IconButton icon="brush" label="Repaint a part of this image" text="Repaint" onClick={() => void takeAsStart(picture.file, true)} />
          <IconButton
            icon="compare"
            label="Compare with another image"
            onClick={() => {
              compared.value = picture.id
              step(pictures.value.at(-1)?.id === picture.id ? -1 : 1)
            }}
            disabled={pictures.value.length < 2}
          />
          <IconButton icon="copy" label="Copy as curl, JavaScript or command" onClick={() => (isCopying.value = true)} />
          <IconButton icon="download" label="Save the image" onClick={() => save(picture.file, fileName(picture))} />
          <IconButton icon="trash" label="Delete the image" onClick={() => void removePicture(picture.id)} />
        </div>
      </div>
      <figcaption>
        <p class="caption-prompt">{settings.prompt}</p>
        <details>
          <summary>
            {width} × {height}, seed {settings.seed}, {settings.steps} steps
          </summary>
          <pre class="infotext">{picture.infotext}</pre>
        </details>
        {(picture.id === pictures.value[0]?.id ? warnings.value : []).map((text) => (
          <p key={text} class="note warn">
            {text}
          </p>
        ))}
      </figcaption>
      {isCopying.value && <CopyDialog picture={picture} onClose={() => (isCopying.value = false)} />}
    </figure>
  )
}

function Empty() {
  return (
    <div class="empty">
      <svg viewBox="0 0 120 90" aria-hidden="true">
        <rect x="8" y="8" width="104" height="74" rx="10" />
        <circle cx="42" cy="36" r="9" />
        <path d="M14 74l28-24 18 15 20-22 26 31" />
      </svg>
      <p>Say what you would like to see, and press Generate.</p>
      <p class="note">Or drop an image made elsewhere: its settings fill the fields.</p>
    </div>
  )
}

export function Failure() {
  const job = failed.value
  if (!job?.error) return null
  return (
    <div class="failure" role="alert">
      <p>{job.error.message}</p>
      <p class="note">{job.error.code}</p>
      <IconButton icon="close" label="Dismiss this message" onClick={() => dismiss(job.key)} />
    </div>
  )
}

export function Stage() {
  const picture = shownPicture.value
  const other = comparedPicture.value
  const job = running.value
  return (
    <section class="stage" id="stage" aria-label="Image">
      <Failure />
      {picture && other && other.id !== picture.id ? (
        <Compare before={other} after={picture} />
      ) : picture ? (
        <Shown picture={picture} />
      ) : job ? (
        <Live job={job} />
      ) : pictures.value[0] ? (
        <Shown picture={pictures.value[0]} />
      ) : (
        <Empty />
      )}
      {picture && job && (
        <button type="button" class="back-to-live" onClick={() => (shown.value = undefined)}>
          <span>{describe(job)}</span>
          <progress aria-label="Progress of the image" max={1} value={share(job)} />
        </button>
      )}
    </section>
  )
}
