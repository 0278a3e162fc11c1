/** Bundled into out/preload.js: a sandboxed preload script cannot load modules by itself. */
import { exposeDiffusion } from 'node-latent-diffusion/electron/preload'

exposeDiffusion()
