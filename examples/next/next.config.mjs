export default {
  // A native library cannot be bundled; it is loaded from node_modules.
  serverExternalPackages: ['node-latent-diffusion'],
}
