/** Settings of few-step models, for those who want to see them. */
export { presets, type Preset } from '../options/presets.js'
