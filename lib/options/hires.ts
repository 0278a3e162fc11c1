/** Options of a second pass at a larger size. */
import { upscalerWord } from '../infotext/words.js'
import { upscalerNames } from '../names.js'
import type { HiresOptions } from '../types.js'
import { choice, integer, number, option, readNested, type Options } from './option.js'
import { invalidType } from './validate.js'

const side = (name: string) =>
  integer({ min: 1, max: 16384, flag: { name: `hires-${name}`, help: `${name} of the second pass, instead of --hires-scale` } })

export const hiresOptions = {
  scale: number({ min: 1, max: 16, flag: { name: 'hires-scale', help: 'a second pass that is larger by this factor: 2' } }),
  width: side('width'),
  height: side('height'),
  steps: integer({ min: 1, max: 1000, flag: { name: 'hires-steps', help: 'steps of the second pass; default: those of the first' } }),
  strength: number({
    min: 0,
    max: 1,
    fallback: () => 0.7,
    flag: { name: 'hires-strength', help: 'how much the second pass changes, 0 to 1; default 0.7' },
  }),
  upscaler: choice({
    names: upscalerNames,
    fallback: () => 'latent' as const,
    flag: { name: 'hires-upscaler', value: 'NAME', help: `${upscalerNames.join(', ')}; default latent` },
  }),
} satisfies Options<HiresOptions>

export type CheckedHires = HiresOptions & Required<Pick<HiresOptions, 'strength' | 'upscaler'>>

export const hires = option(
  (value, name): CheckedHires => {
    const checked = readNested(hiresOptions, value, name, undefined) as CheckedHires
    const { scale, width, height } = checked
    const isSized = width !== undefined && height !== undefined
    if (scale === undefined ? !isSized : width !== undefined || height !== undefined)
      throw invalidType(`${name} needs the larger size: either scale, or width and height`)
    if (checked.strength === 0) throw invalidType(`${name}.strength must be above 0`)
    return checked
  },
  {
    flag: 'its options have separate flags',
    toInfotext: ({ scale, width, height, steps, strength, upscaler }: CheckedHires) => ({
      'Denoising strength': strength,
      ...(scale === undefined ? { 'Hires resize': `${width}x${height}` } : { 'Hires upscale': scale }),
      'Hires steps': steps,
      'Hires upscaler': upscalerWord(upscaler),
    }),
  },
)
