/** The page: static files, if the package has them. */
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Settings } from './settings.js'

const own = path.join(__dirname, '..', 'page-dist')

export async function servePage(app: FastifyInstance, { page }: Settings): Promise<void> {
  if (page === false) return
  const root = path.resolve(page ?? own)
  if (page === undefined && !existsSync(path.join(root, 'index.html'))) return
  // Names of built files contain a hash of their contents, except the page itself.
  await app.register(files, {
    root,
    cacheControl: false,
    setHeaders: (reply, file) => void reply.setHeader('cache-control', file.endsWith('.html') ? 'no-cache' : 'public, max-age=31536000, immutable'),
  })
}
