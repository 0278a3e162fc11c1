/** What the page asks for: the fields of its form. */
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
  /** '': the sampler's own. */
  schedule: string
  count: number
  /** Digits, since seeds go up to 2^64 - 1; '': a random one. */
  seed: string
  /** Share of the schedule, with a start image. */
  strength: number
  /** 0: the model's own. */
  clipSkip: number
  /** Class-conditional models: number or name. */
  classId: string
}
