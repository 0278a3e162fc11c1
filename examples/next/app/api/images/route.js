import { createDiffusionHost } from 'node-latent-diffusion'

export const runtime = 'nodejs' // not edge
export const dynamic = 'force-dynamic' // drawn for every request

/** One engine per process, also after this file is reloaded in development. */
const host = () =>
  (globalThis.diffusionHost ??= createDiffusionHost({ models: process.env.MODEL ? { main: process.env.MODEL } : undefined, maxQueue: 16 }))

const problem = (status, error, headers) => Response.json({ error }, { status, headers })

/** Takes { prompt, seed } as JSON and answers with a PNG. When the client leaves, request.signal ends the work. */
export async function POST(request) {
  let body
  try {
    body = await request.json()
  } catch {
    return problem(400, 'the body must be JSON')
  }
  const { prompt, seed } = body ?? {}
  if (typeof prompt !== 'string' || prompt.length > 1000) return problem(400, 'prompt must be a text of at most 1000 characters')
  try {
    const { images, seed: used } = await host().generate({ prompt, seed, signal: request.signal })
    return new Response(await images[0].encode(), { headers: { 'Content-Type': 'image/png', 'X-Seed': String(used) } })
  } catch (error) {
    if (request.signal.aborted) return problem(499, 'the client has left')
    if (error.code === 'ERR_INVALID_ARG') return problem(400, error.message)
    if (error.code === 'ERR_BUSY') return problem(503, 'too many requests are waiting', { 'Retry-After': '5' })
    console.error(error)
    return problem(500, 'the image could not be drawn')
  }
}
