import { inSlices } from '../files/time-slice.js'
import { imageError } from './image-error.js'

/** Encoders write about ten. A scan of a few bytes may go over every pixel, so thousands would take minutes. */
const maxScans = 200
const pieceBytes = 1 << 16

/** Start of a scan. Coded data have no such bytes; other segments may by chance. */
const scanMarker = Buffer.from([0xff, 0xda])

/** @throws DiffusionError `ERR_IMAGE_FORMAT` for a JPEG file with so many scans that decoding it would take too long */
export async function checkJpegScans(bytes: Uint8Array, where: string): Promise<void> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let scans = 0
  await inSlices(Math.ceil(file.length / pieceBytes), (i) => {
    const piece = file.subarray(i * pieceBytes, (i + 1) * pieceBytes + 1) // one byte more, for a marker at the border
    for (let at = piece.indexOf(scanMarker); at >= 0; at = piece.indexOf(scanMarker, at + 2))
      if (++scans > maxScans) throw imageError(`${where} has more than ${maxScans} scans`, { maxScans })
  })
}
