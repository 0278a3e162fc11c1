/** The figures of docs/images that are drawn, by the names of their files. */
const { memoryByLimit, memoryByType, speed, tinyAutoencoder } = require('./charts.cjs')
const { deployment, depth, edit, retrieval, servers } = require('./flows.cjs')

module.exports = {
  'guide-edit.svg': edit,
  'guide-depth.svg': depth,
  'guide-retrieval.svg': retrieval,
  'guide-servers.svg': servers,
  'guide-deployment.svg': deployment,
  'guide-tiny-autoencoders.svg': tinyAutoencoder,
  'memory-types.svg': memoryByType,
  'memory-limits.svg': memoryByLimit,
  'speed.svg': speed,
}
