/** The messages between a page and the main process, over a MessagePort. Types alone: the page's code has no other file of this package. */
import type { HostStatus } from '../host/host.js'
import type { JobEvent } from '../host/job.js'
import type { WireError } from '../rpc/wire-error.js'
import type { GenerateResult } from '../types.js'

export type PagePicture = { $latent: 'picture'; data: Uint8Array; width: number; height: number; channels: number; metadata?: Record<string, string> }

/** What a page asks for. */
export type PageMessage =
  | { type: 'generate'; id: number; options: Record<string, unknown> }
  | { type: 'cancel'; id: number }
  /** A preview was shown. */
  | { type: 'seen'; id: number }

export type PageEvent = Exclude<JobEvent, { type: 'preview' }> | (Omit<Extract<JobEvent, { type: 'preview' }>, 'image'> & { image: PagePicture })

/** A result as a page gets it: pictures are PNG files, with the settings inside. */
export interface PageResult extends Omit<GenerateResult, 'images' | 'options'> {
  images: { png: Uint8Array; width: number; height: number; metadata: Record<string, string> }[]
  /** Without the pictures that the page gave. */
  options: Record<string, unknown>
}

/** What the main process says. `welcome` comes first. */
export type MainMessage =
  | { type: 'welcome'; models: string[]; status: HostStatus }
  | { type: 'event'; id: number; event: PageEvent }
  | { type: 'result'; id: number; result: PageResult }
  | { type: 'error'; id: number; error: WireError }
  | { type: 'status'; status: HostStatus }
  /** The last message: the host was closed. */
  | { type: 'closed' }

/** Names on Electron's channels, which pages share with the rest of their application. */
export const connectChannel = 'latent-diffusion:connect'
export const portChannel = 'latent-diffusion:port'
