/** The fields of the form. */
export interface Settings {
  model: string
  prompt: string
  negativePrompt: string
  width: number
  height: number
  steps: number
  guidanceScale: number
  /** Of models that edit an image. */
  imageGuidanceScale: number
  sampler: string
  /** '': the sampler's default. */
  schedule: string
  count: number
  /** Digits, since seeds go up to 2^64 - 1; '': a random one. */
  seed: string
  /** As `seed`, for variations. */
  variationSeed: string
  /** 0: no variations. */
  variationStrength: number
  /** Factor of a second pass at a larger size; 1: none. */
  hiresScale: number
  /** How much the second pass changes. */
  hiresStrength: number
  hiresUpscaler: string
  /** Share of the schedule, with a start image. */
  strength: number
  /** 0: the model's default. */
  clipSkip: number
  /** Class-conditional models: number or name. */
  classId: string
}
