/** Running requests of AUTOMATIC1111's API, and their progress. */
import { randomUUID } from 'node:crypto'
import type { JobEvent, RawImage } from 'node-latent-diffusion'
import { readNumber, readText, type Body } from './a1111-requests.js'
import { cancelled } from './errors.js'
import type { Run } from './queue.js'

/** The reason of runs that are interrupted or skipped. */
export const stopped = cancelled('Interrupted or skipped')

export const stamp = () => new Date().toISOString().replace(/[-:T]/g, '').slice(0, 14)
export const base64 = async (image: RawImage) => Buffer.from(await image.encode()).toString('base64')

/** Ids of finished requests that are kept. */
const maxFinished = 64
const longestId = 200

/** The id that a client gives its request, to ask for its progress. */
export function readTaskId(body: Body): string {
  return readText(body, 'force_task_id')?.slice(0, longestId) ?? `task(${randomUUID()})`
}

/** A request; each of its rounds is a run of the queue. */
export class Task {
  readonly id: string
  readonly rounds: number
  done = 0
  skipped = false
  interrupted = false
  run?: Run
  #began: number | undefined
  #step = 0
  #steps: number
  #preview: RawImage | undefined
  #previews = 0

  constructor({ id, rounds, steps }: { id: string; rounds: number; steps: number }) {
    this.id = id
    this.rounds = rounds
    this.#steps = steps
  }

  /** Whether it has begun; before that it waits in the queue. */
  get isActive(): boolean {
    return this.#began !== undefined
  }

  get step(): number {
    return this.#step
  }

  get steps(): number {
    return this.#steps
  }

  /** The newest preview and its number, from 1 on. */
  get preview(): { image: RawImage; number: number } | undefined {
    return this.#preview && { image: this.#preview, number: this.#previews }
  }

  /** 0 to 1. */
  get progress(): number {
    return Math.min(1, (this.done + this.#step / Math.max(1, this.#steps)) / this.rounds)
  }

  /** Estimated seconds to its end. */
  get eta(): number {
    const elapsed = this.#began === undefined ? 0 : (performance.now() - this.#began) / 1000
    const progress = Math.max(0.01, this.progress)
    return elapsed / progress - elapsed
  }

  beginRound(): void {
    this.skipped = false
    this.#step = 0
  }

  /** An event of its run. */
  take(event: JobEvent): void {
    if (event.type === 'started') this.#began ??= performance.now()
    else if (event.type === 'progress' && event.phase === 'sample') [this.#step, this.#steps] = [event.step, event.steps]
    else if (event.type === 'preview') {
      this.#preview = event.image
      this.#previews++
    }
  }
}

const idle = {
  ...{ skipped: false, interrupted: false, stopping_generation: false, job: '', job_count: 0, job_timestamp: '0', job_no: 0 },
  ...{ sampling_step: 0, sampling_steps: 0 },
}

export class Tasks {
  readonly #tasks: Task[] = []
  #finished: string[] = []

  add(given: ConstructorParameters<typeof Task>[0]): Task {
    const task = new Task(given)
    this.#tasks.push(task)
    return task
  }

  finish(task: Task): void {
    this.#tasks.splice(this.#tasks.indexOf(task), 1)
    this.#finished = [...this.#finished.slice(1 - maxFinished), task.id]
  }

  get #current(): Task | undefined {
    return this.#tasks.find(({ run }) => run?.state === 'running') ?? this.#tasks[0]
  }

  stop(how: 'interrupted' | 'skipped'): void {
    const task = this.#current
    if (!task) return
    task[how] = true
    task.run?.cancel(stopped)
  }

  /** `/sdapi/v1/progress`: of the running request. */
  async progress(withPicture: boolean) {
    const task = this.#current
    if (!task) return { progress: 0, eta_relative: 0, state: idle, current_image: null, textinfo: null }
    const { rounds, done, step, steps, skipped, interrupted, preview } = task
    return {
      progress: Math.max(0.01, task.progress), // clients take 0 as idle
      eta_relative: task.eta,
      state: {
        ...{ skipped, interrupted, stopping_generation: interrupted, job: `Batch ${done + 1} out of ${rounds}`, job_count: rounds },
        ...{ job_timestamp: stamp(), job_no: done, sampling_step: step, sampling_steps: steps },
      },
      current_image: withPicture && preview ? await base64(preview.image) : null,
      textinfo: null,
    }
  }

  /** `/internal/progress`: of any request, by its id. A preview is sent once, to clients that send its number with their next request. */
  async progressOf(body: Body) {
    const id = readText(body, 'id_task')
    const known = readNumber(body, 'id_live_preview', -1, Number.MAX_SAFE_INTEGER) ?? -1
    const task = this.#tasks.find((each) => each.id === id)
    const active = task?.isActive === true
    const queued = task !== undefined && !active
    const states = { active, queued, completed: !task && id !== undefined && this.#finished.includes(id) }
    if (!active) {
      const waiting = this.#tasks.filter((each) => !each.isActive)
      const textinfo = queued ? `In queue: ${waiting.indexOf(task) + 1}/${waiting.length}` : 'Waiting...'
      return { ...states, progress: null, eta: null, live_preview: null, id_live_preview: -1, textinfo }
    }
    const { preview } = task
    const isNew = preview !== undefined && preview.number !== known && body.live_preview !== false
    return {
      ...states,
      ...{ progress: task.progress, eta: task.eta },
      live_preview: isNew ? `data:image/png;base64,${await base64(preview.image)}` : null,
      id_live_preview: isNew ? preview.number : known,
      textinfo: null,
    }
  }
}
