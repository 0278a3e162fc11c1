// node examples/inpainting.mjs inpainting_big.ckpt image.png out.png [mask.png]
// Repaints the white areas of the mask (by default the middle of the image); everything else stays unchanged.
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'

const [model, input, output = 'out.png', maskFile] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'inpaint' })
const image = await RawImage.read(input)

function middle({ width, height }) {
  const inside = (at, side) => at > side / 4 && at < (3 * side) / 4
  const data = Uint8Array.from({ length: width * height }, (_, i) => (inside(i % width, width) && inside(Math.floor(i / width), height) ? 255 : 0))
  return { data, width, height }
}

const { images } = await pipe.generate({ image, mask: maskFile ?? middle(image), seed: 42 })
await images[0].save(output)
await pipe.dispose()
