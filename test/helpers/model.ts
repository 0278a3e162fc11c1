/** Golden checkpoints on disk, and rows of batches. */
import path from 'node:path'
import { Conditioning, Latents } from '../../lib/index'
import { loadCase, materialise, temporaryFolder, type GoldenCase } from './golden'

export interface GoldenModel {
  golden: GoldenCase
  folder: string
  /** The checkpoint, where the layout is a single file. */
  file: string
  remove: () => void
}

/** Writes a layout of a case into a temporary folder. */
export function goldenModel(name: string, layout = 'compvis', options: Parameters<typeof materialise>[3] = {}): GoldenModel {
  const golden = loadCase(name)
  const { folder, remove } = temporaryFolder()
  materialise(golden, layout, folder, options)
  const single = Object.keys(golden.layouts[layout]!)[0]!
  const own = path.extname(single).slice(1)
  const extension = options.as === 'safetensors' ? options.as : options.as && own === 'safetensors' ? 'ckpt' : own
  return { golden, folder, file: path.join(folder, `${path.parse(single).name}.${extension}`), remove }
}

export interface Tensor {
  shape: number[]
  data: Float32Array
}

/** Row `i` of the first axis, keeping the axis. */
export function row({ shape, data }: Tensor, i: number): Tensor {
  const size = data.length / shape[0]!
  return { shape: [1, ...shape.slice(1)], data: data.slice(i * size, (i + 1) * size) }
}

export const toLatents = ({ data, shape }: Tensor): Promise<Latents> => Latents.from(data, shape)
export const toConditioning = ({ data, shape }: Tensor): Promise<Conditioning> => Conditioning.from(data, shape)

/** Times a factor, in float32. */
export const times = ({ shape, data }: Tensor, factor: number): Tensor => ({ shape, data: data.map((x) => x * factor) })
