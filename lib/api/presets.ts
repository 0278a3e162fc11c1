/** The presets of few-step models, as public data. */
export { presets, type Preset } from '../options/presets.js'
