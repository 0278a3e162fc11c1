/** Says what an image is estimated to take, makes it, and says what it took. The word: JSON of { file?, load, size, run?, steps? }. */
import { readFileSync } from 'node:fs'
import { DiffusionPipeline, estimateMemory } from '../../../dist/esm.mjs'
import { modelFile, say, word } from './setup.mjs'

const { file, config } = JSON.parse(readFileSync(modelFile, 'utf8'))
const request = JSON.parse(word)
const source = request.file ?? file
const options = { ...(request.file ? {} : { config }), device: 'cpu', threads: 1, ...request.load }

const { peakBytes, lowPeakBytes, processBytes, stages } = await estimateMemory(source, { ...options, ...request.size, ...request.run })
const pipe = await DiffusionPipeline.load(source, options)
const { preview, ...run } = request.run ?? {}
let previews = 0
const shown = preview ? { preview: { ...preview, onPreview: () => void previews++ } } : {}
const { images } = await pipe.generate({ prompt: 'a lighthouse', ...request.size, steps: request.steps ?? 1, seed: 7, ...run, ...shown })
await images[0].encode('png')
say({ peakBytes, lowPeakBytes, processBytes, stages, previews, measured: pipe.memoryUsage().processPeak })
await pipe.dispose()
