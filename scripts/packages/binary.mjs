/** Reads the target of a shared library from its header, and for ELF files the required C library. */
import { readFileSync, statSync } from 'node:fs'

const elfMachines = { 0x3e: 'x64', 0xb7: 'arm64' }
const machoMachines = { 0x01000007: 'x64', 0x0100000c: 'arm64' }
const peMachines = { 0x8664: 'x64', 0xaa64: 'arm64' }

const newer = (a, b) =>
  a
    .split('.')
    .map(Number)
    .reduce((known, part, i) => known || part - (Number(b.split('.')[i]) || 0), 0)

/**
 * { os, cpu } and, for Linux, { libc, glibc }: the newest required version of glibc, from the version names in the file. Undefined if it is not a 64-bit shared
 * library of a known format.
 */
export function describeBinary(file) {
  const bytes = readFileSync(file)
  if (bytes.length < 64) return undefined
  if (bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1) {
    const text = bytes.toString('latin1')
    const versions = [...text.matchAll(/\0GLIBC_(\d+(?:\.\d+)+)(?=\0)/g)].map(([, version]) => version)
    const libc = text.includes('libc.musl-') ? 'musl' : text.includes('\0libc.so.6\0') ? 'glibc' : undefined
    return { os: 'linux', cpu: elfMachines[bytes.readUInt16LE(18)], libc, glibc: versions.sort(newer).at(-1) }
  }
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return { os: 'darwin', cpu: machoMachines[bytes.readUInt32LE(4)] }
  if (bytes.toString('latin1', 0, 2) === 'MZ') {
    const header = bytes.readUInt32LE(0x3c)
    if (header + 6 <= bytes.length && bytes.toString('latin1', header, header + 4) === 'PE\0\0') {
      return { os: 'win32', cpu: peMachines[bytes.readUInt16LE(header + 4)] }
    }
  }
  return undefined
}

/** Bytes of a library for a GPU: what registries and package managers are known to take with ease. */
export const largestLibrary = 100e6

/** Why a library for a GPU cannot be the package of a platform; undefined if it can. */
export function unfitLibrary(platform, file, largest = largestLibrary) {
  const { size } = statSync(file)
  if (size > largest)
    return `has ${(size / 1e6).toFixed(1)} MB, and ${largest / 1e6} MB are allowed; build it for fewer GPUs or without debug information`
  return unfitFor(platform, file)
}

/** Why a binary does not fit the package of a platform; undefined if it does. */
export function unfitFor(platform, file) {
  const found = describeBinary(file)
  if (!found) return 'is not a shared library of a known format'
  for (const key of ['os', 'cpu', 'libc']) {
    if (platform[key] !== undefined && found[key] !== platform[key]) return `is for ${key} ${found[key]}, not ${platform[key]}`
  }
  if (platform.glibc && found.glibc && newer(found.glibc, platform.glibc) > 0)
    return `needs glibc ${found.glibc}, but the package promises ${platform.glibc}`
  return undefined
}
