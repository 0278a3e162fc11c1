// node examples/text-to-image.mjs model.safetensors "a lighthouse at dusk" out.png
import { DiffusionPipeline } from 'node-latent-diffusion'

const [model, prompt = 'a lighthouse at dusk', output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model)
const { images, seed } = await pipe.generate({
  prompt,
  steps: 20,
  onProgress: ({ phase, step, steps }) => console.log(`${phase} ${step}/${steps}`),
})
await images[0].save(output)
console.log(`${output}, seed ${seed}`)
await pipe.dispose()
