/** What the child programs of the lifecycle tests share. argv: the JSON file that says where the model is, then the child's own words. */
import { readFileSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { DiffusionPipeline } from '../../../dist/esm.mjs'

export const modelFile = workerData?.modelFile ?? process.argv[2]
export const word = workerData?.word ?? process.argv[3]
const { file, config } = JSON.parse(readFileSync(modelFile, 'utf8'))

// One thread: several wait for each other at barriers, which takes forever on a machine that is busy with other things.
export const load = (options = {}) => DiffusionPipeline.load(file, { config, device: 'cpu', threads: 1, ...options })

/** A short run, and one that would take minutes. */
export const short = { prompt: 'a lighthouse', width: 64, height: 64, steps: 2, seed: 7 }
export const endless = { ...short, width: 256, height: 256, steps: 1000, sampler: 'euler' }

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)
/** Says what time it is just before the program is to end, so that the parent can tell how long ending took. */
export const leaving = () => say({ leaving: Date.now() })

/** Starts a run that nobody waits for the end of; resolves at its first finished step, rejects where it ends before. */
export function begin(pipe) {
  return new Promise((resolve, reject) => {
    const onProgress = ({ phase, step }) => phase === 'sample' && step > 0 && resolve()
    pipe.generate({ ...endless, onProgress }).then(() => reject(new Error('the endless run has ended')), reject)
  })
}
