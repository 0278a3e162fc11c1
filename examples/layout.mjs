// node examples/layout.mjs models/systems/layout.gguf out.png
// node examples/layout.mjs layout2img-openimages256.ckpt out.png
// An image from boxes with objects, in fractions of the image.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [model = 'models/systems/layout.gguf', output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'layout' })
const shapes = [
  { label: 'red circle', x: 0.08, y: 0.1, width: 0.35, height: 0.35 },
  { label: 'blue star', x: 0.5, y: 0.5, width: 0.4, height: 0.4 },
]
const street = [
  { label: 'Tree', x: 0, y: 0.1, width: 0.3, height: 0.8 },
  { label: 'House', x: 0.35, y: 0.2, width: 0.5, height: 0.6 },
  { label: 'Person', x: 0.6, y: 0.55, width: 0.15, height: 0.4, occluded: false },
]
const { images } = await pipe.generate({ boxes: pipe.info.classes.includes('Tree') ? street : shapes, seed: 42 })
await images[0].save(output)
console.log(`${output}; the model knows ${pipe.info.classes.length} categories: ${pipe.info.classes.slice(0, 8).join(', ')} ...`)
await pipe.dispose()
