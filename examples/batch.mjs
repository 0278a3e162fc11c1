// node examples/batch.mjs prompts.jsonl images [model.safetensors]
// An image for every line of a file in JSON Lines: {"prompt": "a red circle", "seed": 1}, with any options of generate(). Images that exist are skipped, so an
// interrupted run can be started again. A line that fails is reported and does not stop the others.
import { access, mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionPipeline } from 'node-latent-diffusion'

const [input, folder = 'images', model] = process.argv.slice(2)
const lines = (await readFile(input, 'utf8')).split('\n')
const exists = (file) =>
  access(file).then(
    () => true,
    () => false,
  )
await mkdir(folder, { recursive: true })
const pipe = await DiffusionPipeline.load(model)
const controller = new AbortController()
process.once('SIGINT', () => controller.abort(new Error('stopped; start again to continue')))

let failed = 0
for (const [i, line] of lines.entries()) {
  if (line.trim() === '') continue
  const file = path.join(folder, `${String(i + 1).padStart(4, '0')}.png`)
  if (await exists(file)) {
    console.log(`${file}: there already`)
    continue
  }
  try {
    const options = JSON.parse(line)
    const { images } = await pipe.generate({ seed: i, ...options, signal: controller.signal })
    await images[0].save(file) // atomic: a file that exists is complete
    console.log(`${file}: ${options.prompt}`)
  } catch (error) {
    if (controller.signal.aborted) throw error
    failed++
    console.error(`${input}:${i + 1}: ${error.message}`)
  }
}
await pipe.dispose()
if (failed > 0) process.exitCode = 1
