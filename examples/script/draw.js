// node draw.js "a yellow star in the night sky" out.png
// The embedded model draws coloured shapes of 64x64 pixels. MODEL=model.safetensors (or MODEL=hf:owner/name) selects another.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [prompt = 'a yellow star in the night sky', output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(process.env.MODEL)
const { images, seed } = await pipe.generate({
  prompt,
  onProgress: ({ phase, step, steps }) => console.log(`${phase} ${step}/${steps}`),
})
await images[0].save(output)
console.log(`${output}, seed ${seed}`)
await pipe.dispose()
