// Your own sampling loop: encode the prompt, then alternate network evaluations and solver steps, starting from noise.
import { createSolver, DiffusionPipeline } from 'node-latent-diffusion'

const [prompt = 'a red circle on a blue background', output = 'out.png', model] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model)
const conditioning = await pipe.encodePrompt(prompt)
const unconditional = await pipe.encodePrompt('')
const { guidanceScale } = pipe.info.defaults
const solver = createSolver({ sampler: 'dpmpp_2m', schedule: 'karras', steps: 20, spec: pipe.info.spec })

const latents = await pipe.createLatents({ seed: 42 })
const noise = await latents.read()
await latents.write(noise.map((x) => x * solver.initNoiseSigma))
for (const [i, { timestep }] of solver.evaluations.entries()) {
  const input = await solver.scaleInput(latents, i)
  const prediction = await pipe.predict(input, { timestep, conditioning, unconditional, guidanceScale })
  await solver.step(prediction, latents, i)
  input.dispose()
  prediction.dispose()
}
const [image] = await pipe.decode(latents)
await image.save(output)
await pipe.dispose()
