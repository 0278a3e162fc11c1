/** `latent worker`: takes jobs from a queue on Redis. The code is in a separate package. */
import { scope } from '../native/package-root.js'
import { readFlags, type Command, type Flags, type FlagValues } from './command.js'
import { loadPackage } from './packages.js'
import { queueFlags, readPlace } from './queue-flags.js'
import { readDuration } from './serve.js'
import { loadFlags, readLoad, readModels } from './served-models.js'

const flags = {
  ...queueFlags,
  model: { kind: 'texts', short: 'm', value: 'NAME=FILE', help: 'a model, with the name that the server gives it; can be repeated' },
  'max-models': { kind: 'number', help: 'models in memory at a time (default 1)' },
  'max-batch': { kind: 'number', help: 'images of waiting jobs that are made together (default 1): more throughput for small images' },
  name: { kind: 'text', help: 'name of this worker in results (default: host name and process id)' },
  lock: { kind: 'text', value: 'TIME', help: 'time without a sign of life after which another worker takes the job (default 30s)' },
  'max-lost': { kind: 'number', help: 'lost workers that a job survives (default 3)' },
  grace: { kind: 'text', value: 'TIME', help: 'time for the running job at shutdown (default 30s); then it goes back to the queue' },
  'metrics-port': { kind: 'number', help: 'port of /metrics, /healthz and /readyz (default: none)' },
  'metrics-host': { kind: 'text', value: 'ADDRESS', help: 'address of that port (default 127.0.0.1)' },
  ...loadFlags,
  quiet: { kind: 'switch', short: 'q', help: 'no log' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

/** The part of the package that this command uses. */
interface WorkerPackage {
  createWorker(options: Record<string, unknown>): Promise<{ name: string; metricsUrl: string | undefined; close(): Promise<void> }>
}

function readOptions(values: FlagValues<typeof flags>): Record<string, unknown> {
  const models = readModels(values.model, readLoad(values))
  const duration = (flag: 'lock' | 'grace') => (values[flag] === undefined ? undefined : readDuration(values[flag], `--${flag}`))
  const given = {
    ...readPlace(values),
    models: Object.keys(models).length > 0 ? models : { 'tiny-scenes': readLoad(values) },
    maxModels: values['max-models'],
    maxBatch: values['max-batch'],
    name: values.name,
    lockMs: duration('lock'),
    maxLost: values['max-lost'],
    graceMs: duration('grace'),
    metricsPort: values['metrics-port'],
    metricsHost: values['metrics-host'],
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

export const workerCommand: Command = {
  name: 'worker',
  summary: 'run jobs of a queue on Redis, which servers fill (latent serve --queue)',
  usage: '--queue URL --store PLACE [--model NAME=FILE] [options]',
  flags,
  notes:
    `Needs the package ${scope}/worker of the same version. Run one per device, with the models that it should serve.\n` +
    'On Ctrl-C or SIGTERM the worker takes no further job and finishes the running one. A second signal ends it at once.\n' +
    'docs/scale-out.md describes the queue, the store, and how many workers are needed.',
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    const log = values.quiet ? () => {} : (line: string) => void io.stderr.write(`${new Date().toISOString()} ${line}\n`)
    const worker = await loadPackage<WorkerPackage>('worker').createWorker({ ...readOptions(values), log })
    io.stdout.write(`latent worker ${worker.name} takes jobs${worker.metricsUrl === undefined ? '' : `; metrics at ${worker.metricsUrl}/metrics`}\n`)
    if (!io.signal.aborted) await new Promise((resolve) => io.signal.addEventListener('abort', resolve, { once: true }))
    await worker.close()
  },
}
