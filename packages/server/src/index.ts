/**
 * node-latent-diffusion as a server: `latent serve`, or `createServer()` in a program.
 *
 * @packageDocumentation
 */
export { createServer, type Server } from './server.js'
export type { Limits, QueueSettings, ServerOptions } from './settings.js'
export type * from './protocol.js'
