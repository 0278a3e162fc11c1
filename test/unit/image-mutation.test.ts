/** Thousands of damaged PNG files: each is read, or refused with a typed error. */
import { DiffusionError } from '../../lib/errors'
import { RawImage } from '../../lib/image/raw-image'
import { crc32 } from '../helpers/crc32'
import { mutate, randomOf } from '../helpers/mutate'
import { pngChunk, pngFile, type PngSpec } from '../helpers/png-file'

const base: Omit<PngSpec, 'colourType' | 'bitDepth'> = {
  width: 19,
  height: 13,
  sample: (x, y, c) => (x + 2 * y + c) & 1,
  extra: [pngChunk('tEXt', Buffer.from('parameters\0a cat')), pngChunk('iTXt', Buffer.from('k\0\0\0\0\0v'))],
}
const files = [
  pngFile({ ...base, colourType: 2, bitDepth: 8 }),
  pngFile({ ...base, colourType: 0, bitDepth: 1, interlaced: true }),
  pngFile({ ...base, colourType: 3, bitDepth: 2, palette: [1, 2, 3, 4, 5, 6], transparency: [0, 128] }),
  pngFile({ ...base, colourType: 6, bitDepth: 16, interlaced: true }),
  pngFile({ ...base, colourType: 4, bitDepth: 8 }),
  pngFile({ ...base, colourType: 2, bitDepth: 8, transparency: [0, 1, 0, 1, 0, 1] }),
]

/** Makes the check sums right again, as far as the chunks can still be followed, so that damage reaches what lies behind them. */
function repair(bytes: Buffer): Buffer {
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = bytes.readUInt32BE(at)
    if (length > bytes.length - at - 12) break
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 4, at + 8 + length)), at + 8 + length)
    at += length + 12
  }
  return bytes
}

test.each(files.map((file, i): [number, Buffer] => [i, file]))('file %i: 1000 mutants', async (index, file) => {
  await expect(RawImage.read(file)).resolves.toBeInstanceOf(RawImage)
  const random = randomOf(1000 + index)
  let refused = 0
  for (let round = 0; round < 1000; round++) {
    const mutant = mutate(file, random)
    try {
      const { data, width, height, channels } = await RawImage.read(round % 4 === 0 ? mutant : repair(mutant))
      expect(data).toHaveLength(width * height * channels)
    } catch (error) {
      if (!(error instanceof DiffusionError) || error.code !== 'ERR_IMAGE_FORMAT')
        throw new Error(`mutant ${round}: ${mutant.toString('base64')}`, { cause: error })
      refused++
    }
  }
  expect(refused).toBeGreaterThan(500)
})
