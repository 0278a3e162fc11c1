// node examples/any-kind.mjs MODEL out.png
// Your own sampling loop for any kind of model: encode its inputs, sample step by step from noise, decode the latents.
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'

const [model, output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model)
const picture = () => new RawImage({ data: new Uint8Array(3 * 64 * 64).fill(128), width: 64, height: 64, channels: 3 })

/** Example inputs for each kind. */
const inputs = {
  text: () => ({ prompt: 'a red circle on a blue background' }),
  class: () => ({ classId: 1 }),
  unconditional: () => ({}),
  layout: () => ({ boxes: [{ label: 0, x: 0.25, y: 0.25, width: 0.5, height: 0.5 }] }),
  semantic: () => ({ semanticMap: { data: new Uint8Array(256 * 256), width: 256, height: 256 } }),
  superres: () => ({ image: picture() }),
  inpaint: () => ({ image: picture(), mask: { data: new Uint8Array(64 * 64).fill(255), width: 64, height: 64 } }),
  rdm: () => ({ neighbours: [new Float32Array(pipe.info.condition.dim).fill(1)] }),
}[pipe.kind]()

const conditioning = await pipe.encodeCondition(inputs)
// The unconditional input for guidance: the empty prompt, the null class, zeros.
const guided = pipe.info.condition.guidance ? { unconditional: await pipe.encodeCondition(inputs, { unconditional: true }) } : {}
let latents
for await (const step of pipe.sample({ conditioning, ...guided, steps: 20, seed: 42 })) {
  latents = step.latents
  console.log(`step ${step.index + 1} of ${step.steps}, noise level ${step.sigma.toFixed(3)}`)
}
const [image] = await pipe.decode(latents)
await image.save(output)
await pipe.dispose()
