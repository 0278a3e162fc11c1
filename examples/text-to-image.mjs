// node examples/text-to-image.mjs "a yellow star in the night sky" out.png [model.safetensors]
// Without a model, uses the embedded one, which draws coloured shapes on plain and painted backgrounds.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [prompt = 'a yellow star in the night sky', output = 'out.png', model] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model)
const { images, seed } = await pipe.generate({
  prompt,
  onProgress: ({ phase, step, steps }) => console.log(`${phase} ${step}/${steps}`),
})
await images[0].save(output)
console.log(`${output}, seed ${seed}`)
await pipe.dispose()
