// node examples/semantic.mjs semantic_synthesis256.ckpt out.png [map.png]
// A landscape of a label map: a grey or palette PNG, or numbers as here.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [model, output = 'out.png', file] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'semantic' })
const number = (name) => pipe.info.classes.findIndex((label) => label === name)

/** Sky above, mountains, the sea below. */
function landscape(width, height) {
  const [sky, mountain, sea] = ['sky-other', 'mountain', 'sea'].map(number)
  const data = new Uint8Array(width * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const ridge = height * (0.4 + 0.1 * Math.sin(x / 17) + 0.05 * Math.sin(x / 5))
      data[y * width + x] = y < ridge ? sky : y < height * 0.65 ? mountain : sea
    }
  return { data, width, height }
}

const { images } = await pipe.generate({ semanticMap: file ?? landscape(256, 256), seed: 42 })
await images[0].save(output)
await pipe.dispose()
