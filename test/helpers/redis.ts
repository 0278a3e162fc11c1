/** A Redis server for tests, if there is one: REDIS_SERVER names the program; else redis-server of the PATH. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Redis } from 'ioredis'

const program = [process.env.REDIS_SERVER, 'redis-server'].find((name) => name && spawnSync(name, ['--version']).status === 0)

/** `describe`, or `describe.skip` with one line that says why. */
export function whereRedis(file: string): jest.Describe {
  if (program !== undefined) return describe
  console.warn(`${file}: skipped, there is no redis-server`)
  return describe.skip
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** A server on a free port of loopback, with an append-only file, in a folder of its own. */
export class RedisServer implements AsyncDisposable {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'latent-redis-'))
  #child: ChildProcess | undefined

  private constructor(readonly port: number) {}

  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await freePort())
    await server.start()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, or starts it again with what it had written. */
  async start(): Promise<void> {
    const settings = {
      port: this.port,
      bind: '127.0.0.1',
      dir: this.#folder,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
      loglevel: 'warning',
    }
    const args = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)])
    this.#child = spawn(program!, args, { stdio: 'ignore' })
    const client = new Redis(this.url, { retryStrategy: () => 20, maxRetriesPerRequest: null })
    client.on('error', () => {}) // until it listens
    try {
      // While it reads its file it answers LOADING, which the client waits for.
      await client.ping()
    } finally {
      client.disconnect()
    }
  }

  /** Ends it at once, as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child!
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  signal(name: NodeJS.Signals): void {
    this.#child!.kill(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
