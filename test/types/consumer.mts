// A program of a user, compiled against the published declarations alone (test/unit/types.test.ts).
import { Autoencoder, DiffusionPipeline, type RawImage } from 'node-latent-diffusion'

export async function draw(): Promise<RawImage> {
  const pipe = await DiffusionPipeline.load(undefined, { kind: 'text' })
  const { images } = await pipe.generate({ prompt: 'a red circle', seed: 1 })
  await pipe.dispose()
  return images[0]!
}

export async function encode(file: string): Promise<readonly number[]> {
  const stage = await Autoencoder.load(file)
  const { shape } = await stage.encode('photo.png')
  await stage.dispose()
  return shape
}
