/** Files that appear whole or not at all. */
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { checkWritable, writeWhole } from '../../lib/files/atomic-file'
import { RawImage } from '../../lib/index'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-atomic-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = (...names: string[]) => path.join(folder, ...names)
const pixel = new RawImage({ data: new Uint8Array([255, 0, 0]), width: 1, height: 1, channels: 3 })
const posix = process.platform === 'win32' ? test.skip : test

test('the longest file name of the system can be written', async () => {
  const name = `${'n'.repeat(251)}.png`
  await pixel.save(at(name))
  expect(readdirSync(folder)).toContain(name)
  const longer = at(`${'n'.repeat(252)}.png`)
  await expect(checkWritable(longer)).rejects.toMatchObject({ code: 'ERR_IO', message: expect.stringContaining('name too long') as string })
  await expect(pixel.save(longer)).rejects.toMatchObject({ code: 'ERR_IO' })
})

test('a folder, or a path below a file, is rejected as a target; no temporary file is left', async () => {
  mkdirSync(at('folder.png'))
  writeFileSync(at('file'), '')
  for (const target of [at('folder.png'), at('file', 'x.png'), at('missing', 'x.png')]) {
    await expect(checkWritable(target)).rejects.toMatchObject({ code: 'ERR_IO', details: { path: target } })
    await expect(pixel.save(target)).rejects.toMatchObject({ code: 'ERR_IO', details: { path: target } })
  }
  expect(readdirSync(folder).filter((name) => name.startsWith('.latent-'))).toEqual([])
})

test('an error while writing leaves only the old file', async () => {
  writeFileSync(at('old.bin'), 'old')
  const broken = writeWhole(at('old.bin'), '', async (handle) => {
    await handle.writeFile('half')
    throw new Error('broken off')
  })
  await expect(broken).rejects.toMatchObject({ code: 'ERR_IO', message: expect.stringContaining('broken off') as string })
  expect(readFileSync(at('old.bin'), 'utf8')).toBe('old')
  expect(readdirSync(folder).filter((name) => name.startsWith('.latent-'))).toEqual([])
})

posix('a symbolic link is followed: what it names is written, the link stays', async () => {
  mkdirSync(at('real'))
  symlinkSync(path.join('real', 'picture.png'), at('link.png'))
  symlinkSync('link.png', at('chain.png'))
  await pixel.save(at('chain.png')) // the file is not there yet
  expect(readlinkSync(at('link.png'))).toBe(path.join('real', 'picture.png'))
  expect((await RawImage.read(at('real', 'picture.png'))).width).toBe(1)
  symlinkSync('circle-b.png', at('circle-a.png'))
  symlinkSync('circle-a.png', at('circle-b.png'))
  await expect(pixel.save(at('circle-a.png'))).rejects.toMatchObject({ code: 'ERR_IO' })
})

posix('a pipe or a device is no target, and stays what it is', async () => {
  execFileSync('mkfifo', [at('pipe.png')])
  symlinkSync('pipe.png', at('to-pipe.png'))
  symlinkSync('/dev/null', at('to-device.png'))
  for (const target of ['pipe.png', 'to-pipe.png', 'to-device.png'].map((name) => at(name))) {
    await expect(checkWritable(target)).rejects.toMatchObject({ code: 'ERR_IO', message: expect.stringContaining('not a regular file') as string })
    // Not save() for the device: where this fails, it would be replaced.
    if (!target.endsWith('to-device.png')) await expect(pixel.save(target)).rejects.toMatchObject({ code: 'ERR_IO' })
  }
  expect(lstatSync(at('pipe.png')).isFIFO()).toBe(true)
})
