/** `latent serve`: starts the server, which is a separate package. */
import { scope } from '../native/package-root.js'
import { pick } from '../options/option.js'
import { flagsOf } from '../options/flags.js'
import { hubOptions } from '../options/hub.js'
import { readFlags, readOptionFlags, UsageError, type Command, type Flags, type FlagValues } from './command.js'
import { loadPackage } from './packages.js'
import { queueFlags, queueOf, readPlace } from './queue-flags.js'
import { loadFlags, readLoad, readModels } from './served-models.js'

const flags = {
  host: { kind: 'text', value: 'ADDRESS', help: 'address to listen on (default 127.0.0.1); addresses other than loopback need a token' },
  port: { kind: 'number', help: 'port to listen on (default 7861); 0: any free port' },
  token: { kind: 'text', help: 'token that clients must send; the environment variable LATENT_TOKEN is safer' },
  models: { kind: 'text', value: 'DIR', help: 'folder of models: .safetensors, .gguf, .ckpt and diffusers folders' },
  model: { kind: 'texts', short: 'm', value: 'NAME=FILE', help: 'a model, optionally with a name; the first is the default; can be repeated' },
  'max-batch': { kind: 'number', help: 'images of waiting requests that are made together (default 1): more throughput for small images' },
  'max-models': { kind: 'number', help: 'models in memory at a time (default 1)' },
  'keep-alive': { kind: 'text', value: 'TIME', help: 'idle time before models are unloaded: 30s, 5m (default), 1h; 0: never' },
  'max-pixels': { kind: 'number', help: 'maximum pixels per request (default 4194304)' },
  'max-steps': { kind: 'number', help: 'maximum steps per image (default 150)' },
  'max-queue': { kind: 'number', help: 'maximum queued requests (default 32)' },
  'allow-host': { kind: 'texts', value: 'NAME', help: 'accept this name in the Host header; can be repeated' },
  'allow-origin': { kind: 'texts', value: 'ORIGIN', help: 'accept requests from pages of this origin: https://example.org; can be repeated' },
  grace: { kind: 'number', value: 'SECONDS', help: 'seconds for the running request at shutdown (default 30)' },
  'no-pull': { kind: 'switch', help: 'do not download models on request' },
  'no-page': { kind: 'switch', help: 'serve no page' },
  ...queueFlags,
  ...loadFlags,
  ...flagsOf(pick(hubOptions, 'cacheDir')),
  quiet: { kind: 'switch', short: 'q', help: 'no log' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

/** The part of the package that this command uses. */
interface ServerPackage {
  createServer(options: Record<string, unknown>): Promise<{ url: string; close(): Promise<void> }>
}

const units = { '': 1000, s: 1000, m: 60_000, h: 3_600_000 } as const

export function readDuration(text: string, flag: string): number {
  const [, amount, unit] = /^(\d{1,7}(?:\.\d+)?)([smh]?)$/.exec(text) ?? []
  if (amount === undefined) throw new UsageError(`${flag} takes a time like 30s, 5m or 1h, not '${text}'`)
  return Number(amount) * units[unit as keyof typeof units]
}

function readOptions(values: FlagValues<typeof flags>): Record<string, unknown> {
  const load = readLoad(values)
  const seconds = values.grace
  const token = values.token ?? process.env.LATENT_TOKEN
  const limits = { maxPixels: values['max-pixels'], maxSteps: values['max-steps'], maxQueue: values['max-queue'] }
  const given = {
    host: values.host,
    port: values.port,
    token: token === '' ? undefined : token,
    modelsDir: values.models,
    models: readModels(values.model, load),
    load,
    maxModels: values['max-models'],
    maxBatch: values['max-batch'],
    keepAliveMs: values['keep-alive'] === undefined ? undefined : readDuration(values['keep-alive'], '--keep-alive'),
    limits,
    queue: queueOf(values) ? readPlace(values) : undefined,
    allowHosts: values['allow-host'],
    allowOrigins: values['allow-origin'],
    graceMs: seconds === undefined ? undefined : seconds * 1000,
    pull: values['no-pull'] ? false : undefined,
    page: values['no-page'] ? false : undefined,
    hub: readOptionFlags(pick(hubOptions, 'cacheDir'), values),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run a server: the OpenAI images API, the AUTOMATIC1111 API, jobs with live previews, a web page',
  usage: '[--models DIR] [options]',
  flags,
  notes:
    `Needs the package ${scope}/server of the same version.\n` +
    'On Ctrl-C or SIGTERM the server refuses new and queued requests and lets the running one finish. A second signal ends it at once.\n' +
    'docs/server.md describes the APIs and the security rules.',
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    const options = readOptions(values)
    const log = values.quiet ? () => {} : (line: string) => void io.stderr.write(`${new Date().toISOString()} ${line}\n`)
    const server = await loadPackage<ServerPackage>('server').createServer({ ...options, log })
    io.stdout.write(`latent is listening on ${server.url}\n`)
    if (!io.signal.aborted) await new Promise((resolve) => io.signal.addEventListener('abort', resolve, { once: true }))
    await server.close()
  },
}
