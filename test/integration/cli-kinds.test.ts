/** The command line on models of the other kinds. */
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage, writeRetrievalDatabase } from '../../lib/index'
import { cli } from '../helpers/cli'
import { temporaryFolder } from '../helpers/golden'
import { goldenModel } from '../helpers/model'

const { folder, remove } = temporaryFolder()
const at = (name: string) => path.join(folder, name)
const size = ['--width', '64', '--height', '32']

beforeAll(async () => {
  const bytes = (count: number, of: (i: number) => number) => Uint8Array.from({ length: count }, (_, i) => of(i))
  await new RawImage({ data: bytes(64 * 32, (i) => (i >> 2) % 182), width: 64, height: 32, channels: 1 }).save(at('map.png'))
  await new RawImage({ data: bytes(50 * 33, (i) => (i % 50 > 25 ? 255 : 0)), width: 50, height: 33, channels: 1 }).save(at('mask.png'))
  await new RawImage({ data: bytes(50 * 33 * 3, (i) => (i * 31) % 256), width: 50, height: 33, channels: 3 }).save(at('picture.png'))
  writeFileSync(at('boxes.json'), JSON.stringify([{ label: 'Dog', x: 0, y: 0.2, width: 0.5, height: 0.5 }]))
  await writeRetrievalDatabase(at('db.safetensors'), { embeddings: Float32Array.from({ length: 128 }, (_, i) => Math.cos(i)), shape: [2, 64] })
})
afterAll(remove)

interface Case {
  golden: string
  argv: () => string[]
  picture: [number, number]
  settings: RegExp
}

const cases: Case[] = [
  { golden: 'ldm-uncond', argv: () => ['generate', ...size], picture: [64, 32], settings: /^Steps: 2, .*Model kind: unconditional/ },
  { golden: 'ldm-cin256-v2', argv: () => ['generate', '--class', '3', ...size], picture: [64, 32], settings: /Model kind: class, Class: 3/ },
  {
    golden: 'ldm-layout2img',
    argv: () => ['generate', '--boxes', at('boxes.json'), ...size],
    picture: [64, 32],
    settings: /Boxes: Dog at 0 0\.2 0\.5 0\.5/,
  },
  { golden: 'ldm-semantic', argv: () => ['generate', '--semantic-map', at('map.png')], picture: [64, 32], settings: /Model kind: semantic/ },
  {
    golden: 'ldm-inpaint-big',
    argv: () => ['generate', '--image', at('picture.png'), '--mask', at('mask.png')],
    picture: [50, 33],
    settings: /Model kind: inpaint/,
  },
  { golden: 'ldm-sr', argv: () => ['upscale', at('picture.png')], picture: [200, 132], settings: /Model kind: superres/ },
]

test.each(cases)('$golden', async ({ golden, argv, picture, settings }) => {
  const model = goldenModel(golden)
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    const common = ['-m', model.file, '--steps', '2', '--seed', '7', '--device', 'cpu']
    const out = at(`${golden}.png`)
    const { code, stdout, stderr } = await cli([...argv(), ...common, '-o', out])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`${picture.join('x')}, seed 7\\n2 steps of ddim`))
    const image = await RawImage.read(out)
    expect([image.width, image.height]).toEqual(picture)
    expect(image.metadata.parameters).toMatch(settings)
    const wrong = await cli(['generate', ...common, '-p', 'a prompt', '-o', at('never.png')])
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toMatch(/option 'prompt' is for models that read text; .* takes/)
    expect(existsSync(at('never.png'))).toBe(false)
  } finally {
    model.remove()
  }
})

test('a depth map and a prompt', async () => {
  const model = goldenModel('sd2-depth')
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    const common = ['generate', '-m', model.file, '--steps', '2', '--seed', '7', '--device', 'cpu']
    const draw = async (map: string, out: string) => {
      const { code, stdout, stderr } = await cli([...common, '--depth-map', at(map), '-p', 'a cat', '-o', at(out)])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/48x32, seed 7\n2 steps of ddim/)
      return RawImage.read(at(out))
    }
    const image = await draw('picture.png', 'depth.png')
    expect([image.width, image.height]).toEqual([48, 32])
    expect(image.metadata.parameters).toMatch(/^a cat\nSteps: 2, .*Model kind: depth/)
    expect((await draw('mask.png', 'other.png')).data).not.toEqual(image.data)
    expect(await cli([...common, '-p', 'a cat', '-o', at('never.png')])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/depthMap is missing/),
    })
  } finally {
    model.remove()
  }
})

/** A safetensors file of one float32 tensor. */
function writeTensor(file: string, name: string, data: Float32Array) {
  const header = JSON.stringify({ [name]: { dtype: 'F32', shape: [data.length], data_offsets: [0, data.byteLength] } })
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  writeFileSync(file, Buffer.concat([length, Buffer.from(padded), Buffer.from(data.buffer)]))
}

test('upscale accepts adapters', async () => {
  const model = goldenModel('ldm-sr')
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    writeTensor(at('bias.safetensors'), 'lora_unet_conv_out.diff_b', Float32Array.of(0.5, -0.5, 0.25))
    const draw = async (out: string, ...flags: string[]) => {
      const argv = ['upscale', at('picture.png'), '-m', model.file, '--steps', '2', '--seed', '7', '--device', 'cpu', '-o', at(out), ...flags]
      expect(await cli(argv)).toMatchObject({ code: 0, stderr: '' })
      return (await RawImage.read(at(out))).data
    }
    const plain = await draw('plain.png')
    expect(await draw('adapted.png', '--lora', at('bias.safetensors'))).not.toEqual(plain)
    expect(await draw('none.png', '--lora', `${at('bias.safetensors')}:0`)).toEqual(plain)
  } finally {
    model.remove()
  }
})

test('searching a database needs a prompt or a query, and a text encoder', async () => {
  const model = goldenModel('ldm-rdm')
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    const common = ['generate', '-m', model.file, '--neighbours', at('db.safetensors'), '--k', '2', '-o', at('never.png')]
    expect(await cli(common)).toMatchObject({ code: 2, stderr: expect.stringMatching(/neighbours\.query is missing/) })
    expect(await cli([...common, '-p', 'x'])).toMatchObject({ code: 1, stderr: expect.stringMatching(/textEncoder/) })
  } finally {
    model.remove()
  }
})
