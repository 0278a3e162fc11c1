/** CRC-32 as zip and PNG use it. */
export { crc32 } from 'node:zlib'
