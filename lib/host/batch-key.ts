/** Which jobs may run together: decided here for hosts, servers and workers. */
import { knownKeys } from '../options/validate.js'
import type { HostGenerateOptions } from './host.js'

/** Options that jobs which run together need not have in common, and those of the call. */
const own = new Set(['prompt', 'negativePrompt', 'seed', 'variationSeed', 'classId', 'count', 'model', 'preview', 'signal', 'onProgress'])

/**
 * Jobs of one model with equal keys may share the U-Net's calls ({@link HostOptions.maxBatch}): their options differ only in prompts, seeds, class, count and
 * previews. Undefined for options that run alone: those with images, files or lists, and a count that `generate()` refuses.
 */
export function batchKey(options?: Readonly<HostGenerateOptions>): string | undefined {
  const { count, ...rest } = knownKeys(options, 'batchKey()', Object.keys(options ?? {})) as HostGenerateOptions
  if (count !== undefined && !(Number.isInteger(count) && count >= 1)) return undefined
  const common = Object.entries(rest).filter(([name, value]) => !own.has(name) && value !== undefined)
  if (!common.every(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))) return undefined
  return JSON.stringify(common.sort(([a], [b]) => (a < b ? -1 : 1)))
}
