/** Bodies that are on their way: refused by their announced size, and bounded in all, before a byte of them is read. */
import type { FastifyInstance } from 'fastify'
import { busy } from './errors.js'
import { tooLarge } from './forms.js'
import type { Limits } from './settings.js'

/** Smaller ones are not counted. */
const small = 1 << 16
/** How many of the largest bodies may be on their way at a time. */
const largest = 8

/** @throws HttpError 413 for a body that is too large, 429 where too many large ones are on their way */
export function boundBodies(app: FastifyInstance, { maxBodyBytes }: Limits): void {
  let onTheirWay = 0
  app.addHook('onRequest', async ({ headers, raw }) => {
    const announced = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
    const bytes = announced ?? (headers['transfer-encoding'] === undefined ? 0 : maxBodyBytes)
    if (bytes > maxBodyBytes) throw tooLarge(maxBodyBytes)
    if (bytes <= small) return
    if (onTheirWay + bytes > largest * maxBodyBytes) throw busy('Too many large requests are being sent to this server', 5)
    onTheirWay += bytes
    raw.once('close', () => (onTheirWay -= bytes))
  })
}
