/** scripts/packages/binary.mjs: which binary may go into which package. Run by Node itself, since jest loads no ES modules here. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../helpers/golden'

const { folder, remove } = temporaryFolder()
afterAll(remove)

function elf(machine: number, ...strings: string[]): Buffer {
  const header = Buffer.alloc(64)
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(header)
  header.writeUInt16LE(machine, 18)
  return Buffer.concat([header, Buffer.from(`\0${strings.join('\0')}\0`)])
}

function macho(cpu: number): Buffer {
  const header = Buffer.alloc(64)
  header.writeUInt32LE(0xfeedfacf, 0)
  header.writeUInt32LE(cpu, 4)
  return header
}

function pe(machine: number): Buffer {
  const header = Buffer.alloc(256)
  header.write('MZ')
  header.writeUInt32LE(128, 0x3c)
  header.write('PE\0\0', 128, 'latin1')
  header.writeUInt16LE(machine, 132)
  return header
}

const glibc = ['libc.so.6', 'GLIBC_2.4', 'GLIBC_2.17', 'GLIBC_2.28']
const cases: [string, Buffer, string, string][] = [
  ['glibc', elf(0x3e, ...glibc), 'linux-x64', ''],
  ['newer glibc', elf(0x3e, ...glibc, 'GLIBC_2.34'), 'linux-x64', 'needs glibc 2.34, but the package promises 2.28'],
  ['other processor', elf(0xb7, ...glibc), 'linux-x64', 'is for cpu arm64, not x64'],
  ['arm64', elf(0xb7, ...glibc), 'linux-arm64', ''],
  ['musl', elf(0x3e, 'libc.musl-x86_64.so.1'), 'linux-x64-musl', ''],
  ['musl in the package for glibc', elf(0x3e, 'libc.musl-x86_64.so.1'), 'linux-x64', 'is for libc musl, not glibc'],
  ['macOS', macho(0x0100000c), 'darwin-arm64', ''],
  ['macOS on Intel', macho(0x01000007), 'darwin-arm64', 'is for cpu x64, not arm64'],
  ['Windows', pe(0x8664), 'win32-x64', ''],
  ['Windows on arm64', pe(0xaa64), 'win32-arm64', ''],
  ['Linux for Windows', elf(0x3e, ...glibc), 'win32-x64', 'is for os linux, not win32'],
  ['text', Buffer.from('#!/bin/sh\n'.repeat(20)), 'linux-x64', 'is not a shared library of a known format'],
  ['nothing', Buffer.alloc(0), 'linux-x64', 'is not a shared library of a known format'],
  [
    'a header that points outside',
    Buffer.concat([Buffer.from('MZ'), Buffer.alloc(58), Buffer.alloc(4, 0x7f)]),
    'win32-x64',
    'is not a shared library of a known format',
  ],
]

test('a binary goes only into the package of its own platform', () => {
  const files = cases.map(([, bytes, platform], index) => {
    const file = path.join(folder, `${index}.node`)
    writeFileSync(file, bytes)
    return [platform, file]
  })
  const program = `import { unfitFor } from './scripts/packages/binary.mjs'
import { platforms } from './scripts/packages/platforms.mjs'
const cases = JSON.parse(process.argv[1])
console.log(JSON.stringify(cases.map(([name, file]) => unfitFor(platforms.find((one) => one.name === name), file) ?? '')))`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, JSON.stringify(files)], { encoding: 'utf8' })
  expect(stderr).toBe('')
  const answers = JSON.parse(stdout) as string[]
  expect(cases.map(([name], index) => [name, answers[index]])).toEqual(cases.map(([name, , , answer]) => [name, answer]))
})

test('a library for GPUs must fit its platform too, and be small enough', () => {
  const file = path.join(folder, 'latent-vulkan.so')
  writeFileSync(file, elf(0x3e, ...glibc, 'GLIBC_2.34'))
  const program = `import { largestLibrary, unfitLibrary } from './scripts/packages/binary.mjs'
import { platforms } from './scripts/packages/platforms.mjs'
const platform = platforms.find(({ name }) => name === 'linux-x64')
const file = process.argv[1]
console.log(JSON.stringify([largestLibrary, unfitLibrary(platform, file), unfitLibrary({ ...platform, glibc: undefined }, file) ?? '', unfitLibrary(platform, file, 50)]))`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, file], { encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual([
    100e6,
    'needs glibc 2.34, but the package promises 2.28',
    '',
    expect.stringMatching(/^has 0\.0 MB, and 0\.00005 MB are allowed/),
  ])
})
