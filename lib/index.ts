/**
 * Latent diffusion for Node.js: load a model and generate images, or run the stages and the sampling loop yourself.
 *
 * @packageDocumentation
 */
export { DiffusionPipeline } from './api/pipeline.js'
export { Autoencoder, type AutoencoderEncodeOptions, type AutoencoderInfo, type LatentOutput } from './api/autoencoder.js'
export type { Codes } from './api/codes.js'
export { ImageEncoder } from './api/image-encoder.js'
export { cosineSimilarity } from './api/text-embedding.js'
export { Latents } from './api/latents.js'
export { Conditioning, type ConditioningExtras } from './api/conditioning.js'
export type { FoundNeighbour, NeighbourDatabase, Neighbours, NeighbourSearch } from './kinds/neighbours.js'
export { RetrievalDatabase, type Neighbour, type RetrievalLoadOptions, type SearchOptions } from './retrieval/database.js'
export { writeRetrievalDatabase, type RetrievalRows } from './retrieval/write.js'
export { RawImage, type EncodeOptions, type ImageFormat, type RawImageData, type RawImageInput, type ReadImageOptions } from './image/raw-image.js'
export type { ImageSize } from './image/orientation.js'
export type { ResizeFilter } from './image/resize.js'
export { formatInfotext, parseInfotext, type Infotext, type InfotextValue } from './infotext/infotext.js'
export { ownTimings } from './api/timings.js'
export { presets, type Preset } from './api/presets.js'
export { createSolver, Solver, type Evaluation, type SolverOptions } from './api/solver.js'
export { createNoise, type NoiseOptions } from './api/noise.js'
export { createRandom, type RandomOptions } from './api/random.js'
export { checkDevices, type CheckDevicesOptions, type CheckedDevice, type DeviceCheck, type DeviceReport } from './api/check-devices.js'
export {
  getDevices,
  getVersions,
  measureBandwidth,
  measurePeak,
  setLogger,
  type Bandwidth,
  type Peak,
  type GetDevicesOptions,
  type PeakOptions,
  type Versions,
} from './api/devices.js'
export {
  estimateMemory,
  inspect,
  type EstimateRequest,
  type InspectOptions,
  type MemoryEstimate,
  type StageEstimate,
  type StageMemory,
} from './api/inspect.js'
export {
  openTensors,
  TensorFile,
  type OpenTensorsOptions,
  type ReadTensorOptions,
  type TensorInfo,
  type TensorType,
  type TensorValues,
} from './api/tensors.js'
export { listEmbeddings, type ListedEmbedding, type ListEmbeddingsOptions } from './api/embeddings.js'
export { listLoras, type ListedLora } from './api/loras.js'
export { convert, type ConvertReport } from './api/convert.js'
export {
  listModels,
  pullModel,
  removeIncompleteDownloads,
  removeModel,
  verifyModels,
  type CacheOptions,
  type PullOptions,
  type PullReport,
  type VerifyOptions,
} from './api/models.js'
export { batchKey } from './host/batch-key.js'
export {
  createDiffusionHost,
  DiffusionHost,
  type HostEvents,
  type HostGenerateOptions,
  type HostLoadOptions,
  type HostOptions,
  type HostStatus,
} from './host/host.js'
export { DiffusionJob, type JobEvent, type JobState } from './host/job.js'
export type { HostedModel } from './host/models.js'
export { DownloadError, type DownloadDetails, type DownloadReason } from './hub/errors.js'
export type { CachedModel, CachedRevision, VerifiedFile } from './hub/manage.js'
export type { PulledFile } from './hub/pull.js'
export type { PullProgress } from './hub/pull-progress.js'
export type { HubOptions } from './hub/settings.js'
export {
  BinaryNotFoundError,
  DeviceError,
  DiffusionError,
  DisposedError,
  EngineExitedError,
  ModelFormatError,
  OutOfMemoryError,
  UnsupportedModelError,
  type DiffusionErrorCode,
  type MemoryPlan,
} from './errors.js'
export type * from './types.js'
