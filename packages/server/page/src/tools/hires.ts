/** How a second pass is enlarged: names of the API, and those of the web UI, which infotexts have. */
export const hiresUpscalers: [name: string, words: string][] = [
  ['latent', 'Latent'],
  ['latent_bicubic', 'Latent (bicubic)'],
  ['latent_nearest', 'Latent (nearest)'],
  ['latent_nearest_exact', 'Latent (nearest-exact)'],
  ['lanczos', 'Lanczos'],
  ['bicubic', 'Bicubic'],
  ['nearest', 'Nearest'],
]
