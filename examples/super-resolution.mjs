// node examples/super-resolution.mjs models/systems/superres.gguf small.png out.png
// node examples/super-resolution.mjs bsr_sr.ckpt small.png out.png
// Four times the width and height. Images larger than the network's tile are processed in overlapping tiles.
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'

const [model, input, output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'superres' })
const small = await RawImage.read(input)
const { images } = await pipe.upscale(small, {
  steps: 50,
  seed: 42,
  onProgress: ({ phase, step, steps }) => console.log(`${phase} ${step}/${steps}`),
})
await images[0].save(output)
console.log(`${small.width}x${small.height} to ${images[0].width}x${images[0].height}`)
await pipe.dispose()
