/** The messages between a page and the main process, over a MessagePort. Only types: the page's code uses no other file of this package. */
import type { HostStatus } from '../host/host.js'
import type { JobEvent } from '../host/job.js'
import type { WireError } from '../rpc/wire-error.js'
import type { GenerateResult } from '../types.js'

export type PagePicture = { $latent: 'picture'; data: Uint8Array; width: number; height: number; channels: number; metadata?: Record<string, string> }

/** Messages of a page. */
export type PageMessage =
  | { type: 'generate'; id: number; options: Record<string, unknown> }
  | { type: 'cancel'; id: number }
  /** Acknowledges a preview. */
  | { type: 'seen'; id: number }

export type PageEvent = Exclude<JobEvent, { type: 'preview' }> | (Omit<Extract<JobEvent, { type: 'preview' }>, 'image'> & { image: PagePicture })

/** A result for a page: images are PNG files that contain the settings. */
export interface PageResult extends Omit<GenerateResult, 'images' | 'options'> {
  images: { png: Uint8Array; width: number; height: number; metadata: Record<string, string> }[]
  /** Without the page's images. */
  options: Record<string, unknown>
}

/** Messages of the main process. `welcome` comes first. */
export type MainMessage =
  | { type: 'welcome'; models: string[]; status: HostStatus }
  | { type: 'event'; id: number; event: PageEvent }
  | { type: 'result'; id: number; result: PageResult }
  | { type: 'error'; id: number; error: WireError }
  | { type: 'status'; status: HostStatus }
  /** The last message: the host was closed. */
  | { type: 'closed' }

/** Names of Electron's channels, which the rest of the application shares. */
export const connectChannel = 'latent-diffusion:connect'
export const portChannel = 'latent-diffusion:port'
