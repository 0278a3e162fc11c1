import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DiffusionPipeline } from 'node-latent-diffusion'

// Stable Diffusion 1.5's real sizes, 2 GB of formula weights: by request (LATENT_TEST_FULL_SIZE=1), since it takes a minute and the disk space.
const describeFull = process.env.LATENT_TEST_FULL_SIZE ? describe : describe.skip

describeFull('the full size of Stable Diffusion 1.5', () => {
  let folder = ''
  let file = ''

  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'latent-full-'))
    file = path.join(folder, 'sd15.safetensors')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('loads, makes one guided 512x512 step and decodes', async () => {
    execFileSync(process.execPath, ['scripts/synthetic-sd1.mjs', '--size', 'full', '--type', 'f16', '--out', file])
    const pipe = await DiffusionPipeline.load(file)
    try {
      expect(pipe.info.parameters.unet).toBe(859520964)
      const conditioning = await pipe.encodePrompt('a lighthouse')
      const unconditional = await pipe.encodePrompt('')
      const latents = await pipe.createLatents({ width: 512, height: 512, seed: 1 })
      const output = await pipe.predict(latents, { timestep: 981, conditioning, unconditional, guidanceScale: 7.5 })
      expect(output.shape).toEqual([1, 4, 64, 64])
      const values = await output.read()
      expect(values.every(Number.isFinite)).toBe(true)
      expect(Math.max(...values.map(Math.abs))).toBeGreaterThan(0.1)
      const [image] = await pipe.decode(latents)
      expect(image).toMatchObject({ width: 512, height: 512, channels: 3 })
      expect(new Set(image!.data).size).toBeGreaterThan(20)
    } finally {
      await pipe.dispose()
    }
  }, 600_000)
})
