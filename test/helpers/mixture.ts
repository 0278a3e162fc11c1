/** The closed-form denoiser of the golden procedures: a mixture of four Gaussians per latent pixel, and the formula values that its runs start from. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { uniform } from './golden'
import { readArrays } from './safetensors'

const folder = path.resolve('test', 'fixtures', 'procedures')

/** A procedure's cases, as loosely typed as JSON. */
export function procedure(name: string): any {
  return JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8'))
}

export function trajectories(name: string): Record<string, { data: ArrayLike<number> }> {
  return readArrays(path.join(folder, `${name}.safetensors`))
}

export const latentSize = 4 * 8 * 8

/** Values of unit variance by key, seed 0. */
export function formula(key: string, count = latentSize): Float32Array {
  return Float32Array.from(uniform(key, 0, count), (v) => v * Math.sqrt(3))
}

const { means, std, weights } = procedure('samplers_k').model as { means: number[][]; std: number; weights: Record<'uncond' | 'cond', number[]> }

/** x0 of x = a x0 + b noise; in sigma space a is 1. */
export function cleanOf(x: ArrayLike<number>, a: number, b: number): Float64Array {
  const spread = a * a * std * std + b * b
  const pixels = x.length / 4
  const out = new Float64Array(x.length)
  for (let p = 0; p < pixels; p++) {
    const logits = means.map((mean, k) => {
      const distance = mean.reduce((sum, m, c) => sum + (x[c * pixels + p]! - a * m) ** 2, 0)
      return Math.log(weights.uncond[k]!) - distance / (2 * spread)
    })
    const top = Math.max(...logits)
    const shares = logits.map((logit) => Math.exp(logit - top))
    const sum = shares.reduce((left, right) => left + right, 0)
    for (let c = 0; c < 4; c++) {
      const at = c * pixels + p
      for (let k = 0; k < 4; k++) out[at]! += (shares[k]! / sum) * (means[k]![c]! + ((a * std * std) / spread) * (x[at]! - a * means[k]![c]!))
    }
  }
  return out
}

/** The largest distance of a point of a run from the reference's, relative to the point's size (at least 1). */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>, offset: number): number {
  let largest = 1
  let error = 0
  for (let i = 0; i < actual.length; i++) {
    largest = Math.max(largest, Math.abs(expected[offset + i]!))
    error = Math.max(error, Math.abs(actual[i]! - expected[offset + i]!))
  }
  return error / largest
}
