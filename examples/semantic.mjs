// node examples/semantic.mjs models/systems/semantic.gguf out.png [map.png]
// node examples/semantic.mjs semantic_synthesis256.ckpt out.png [map.png]
// A landscape from a label map: a greyscale or palette PNG, or numbers as here.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [model = 'models/systems/semantic.gguf', output = 'out.png', file] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'semantic' })
/** The number of the first of these labels that the model knows. */
const number = (...names) => pipe.info.classes.findIndex((label) => names.includes(label))

/** Sky above, mountains, the sea below; a white disc if the model has no mountains. */
function landscape(width, height) {
  const [sky, mountain, sea] = [number('sky-other', 'sunset sky'), number('mountain'), number('sea')]
  const disc = number('white object')
  const data = new Uint8Array(width * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const ridge = height * (0.4 + 0.1 * Math.sin(x / 17) + 0.05 * Math.sin(x / 5))
      const below = y < height * 0.65 ? (mountain >= 0 ? mountain : sky) : sea
      const inDisc = disc >= 0 && Math.hypot(x - width / 2, y - height / 3) < width / 6
      data[y * width + x] = inDisc ? disc : y < ridge ? sky : below
    }
  return { data, width, height }
}

const { images } = await pipe.generate({ semanticMap: file ?? landscape(pipe.info.defaults.width, pipe.info.defaults.height), seed: 42 })
await images[0].save(output)
await pipe.dispose()
