/** Checks of what other programs write to Redis. */
import type { JobNews, JobResult } from './protocol.js'

/** News of a worker; undefined for anything else. */
export function readNews(text: string): JobNews | undefined {
  let news: Partial<Record<string, unknown>> | null
  try {
    news = JSON.parse(text) as typeof news
  } catch {
    return undefined
  }
  const numbers = (...keys: string[]) => keys.every((key) => typeof news![key] === 'number')
  const isValid = {
    changed: () => true,
    started: () => typeof news!.worker === 'string',
    progress: () => typeof news!.phase === 'string' && numbers('step', 'steps', 'elapsedMs'),
    preview: () => typeof news!.png === 'string' && numbers('step', 'steps', 'index'),
  }
  const type = news?.type
  return typeof type === 'string' && Object.hasOwn(isValid, type) && isValid[type as keyof typeof isValid]() ? (news as JobNews) : undefined
}

export function isResult(value: unknown): value is JobResult {
  const object = (given: unknown): Record<string, unknown> | undefined =>
    typeof given === 'object' && given !== null ? (given as Record<string, unknown>) : undefined
  const { images, seed, options, timings, warnings, promptTokens, worker } = object(value) ?? {}
  const isImage = (image: unknown) => {
    const { key, bytes, width, height, metadata } = object(image) ?? {}
    return typeof key === 'string' && [bytes, width, height].every((each) => typeof each === 'number') && object(metadata) !== undefined
  }
  const times = object(timings)
  return (
    Array.isArray(images) &&
    images.every(isImage) &&
    typeof seed === 'string' &&
    /^\d{1,20}$/.test(seed) &&
    object(options) !== undefined &&
    times !== undefined &&
    ['loadMs', 'encodeMs', 'sampleMs', 'decodeMs'].every((name) => typeof times[name] === 'number') &&
    (times.sharedBy === undefined || (Number.isInteger(times.sharedBy) && Number(times.sharedBy) >= 1)) &&
    Array.isArray(warnings) &&
    typeof promptTokens === 'number' &&
    typeof worker === 'string'
  )
}
