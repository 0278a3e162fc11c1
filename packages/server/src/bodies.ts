/** Limits request bodies, single and in total, by their announced size before reading them. */
import type { FastifyInstance } from 'fastify'
import { busy } from './errors.js'
import { tooLarge } from './forms.js'
import type { Limits } from './settings.js'

/** Smaller bodies are not counted. */
const small = 1 << 16
/** Total limit, in bodies of the largest size. */
const largest = 8

/** @throws HttpError 413 for a body that is too large, 429 if too many large ones are being sent */
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
