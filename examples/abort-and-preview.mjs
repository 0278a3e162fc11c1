// Previews during sampling, and aborting within a step.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [prompt = 'a pink heart over the sea at sunset', output = 'preview.png', model] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model)
const controller = new AbortController()
const timer = setTimeout(() => controller.abort(new Error('enough')), 10_000)
try {
  const { images } = await pipe.generate({
    prompt,
    signal: controller.signal,
    preview: {
      every: 2,
      onPreview: (image, { step, steps }) => image.save(output).then(() => console.log(`${output} shows step ${step} of ${steps}`)),
    },
  })
  await images[0].save(output)
} catch (error) {
  if (!controller.signal.aborted) throw error
  console.log(`stopped: ${error.message}`)
}
clearTimeout(timer)
await pipe.dispose()
