/** The files of a model. model/sources locates them. */
import type { ModelFiles } from '../types.js'
import { option, type Options } from './option.js'
import { invalidRange, invalidType, isUrl, show } from './validate.js'

/** A path, a URL or the name of a model on a hub, not located yet. */
export function checkPlace(value: unknown, name: string): string | URL {
  if (!isUrl(value) && typeof value !== 'string') throw invalidType(`${name} must be a path or a URL, not ${show(value)}`)
  const text = isUrl(value) ? value.href : value
  if (text === '') throw invalidRange(`${name} is an empty string; a path is expected`)
  if (text.includes('\0')) throw invalidRange(`${name} contains a NUL character`)
  return value
}

export const modelPlaces = 'checkpoint, diffusers folder, hf:owner/name or civitai:VERSION'

const value = 'FILE'

export const modelFiles = {
  model: option(checkPlace, { flag: { short: 'm', value, help: `${modelPlaces}; default: the embedded model` } }),
  unet: option(checkPlace, { flag: { value, help: "use this U-Net instead of the model's" } }),
  textEncoder: option(checkPlace, { flag: { value, help: "use this text encoder instead of the model's" } }),
  imageEncoder: option(checkPlace, { flag: { value, help: 'CLIP with an image tower, for retrieval-augmented models' } }),
  vae: option(checkPlace, { flag: { value, help: "use this VAE (first stage) instead of the model's" } }),
  previewVae: option(checkPlace, { flag: { value, help: 'a tiny autoencoder (TAESD) for previews' } }),
  refiner: option(checkPlace, { flag: { value, help: "a second model that takes over within a run, such as SDXL's refiner" } }),
  tokenizer: option(checkPlace, { flag: { value: 'DIR', help: "use these tokenizer files instead of the model's" } }),
} satisfies Options<ModelFiles>
