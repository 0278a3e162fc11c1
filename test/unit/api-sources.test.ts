import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { DiffusionError, ModelFormatError } from '../../lib/errors'
import { parseConfig } from '../../lib/model/config-file'
import * as embedded from '../../lib/model/embedded'
import { unpackOuterZip } from '../../lib/model/outer-zip'
import { huggingFaceCache } from '../../lib/hub/settings'
import { resolveSource } from '../../lib/model/sources'
import type { ModelSource } from '../../lib/types'
import { temporaryFolder } from '../helpers/golden'
import { zipStored } from '../helpers/torch-checkpoint'

const { folder, remove } = temporaryFolder()
afterAll(remove)

function put(name: string, content: string | Uint8Array = 'x'): string {
  const file = path.join(folder, name)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, content)
  return file
}

const yaml = 'model:\n  target: ldm.LatentDiffusion\n  params:\n    scale_factor: 0.18215\n    linear_start: 8.5e-4\n    use_ema: False\n'

describe('sources', () => {
  test('a path, a relative path and a file: URL are the same file', async () => {
    const file = put('a b/módel ü.safetensors')
    for (const source of [file, path.relative(process.cwd(), file), pathToFileURL(file), pathToFileURL(file).href]) {
      expect(await resolveSource(source)).toEqual({ model: file, name: 'módel ü' })
    }
  })

  test('parts', async () => {
    const [unet, vae] = [put('parts/unet.safetensors'), put('parts/vae.safetensors')]
    expect(await resolveSource({ unet, vae: pathToFileURL(vae) })).toEqual({ model: '', unet, vae, name: 'unet' })
  })

  test('without a source the embedded model is used', async () => {
    const root = path.resolve(__dirname, '..', '..')
    expect(embedded.embeddedModel()).toBe(path.join(root, 'models', 'tiny-scenes.gguf'))
    expect(await resolveSource(undefined)).toEqual({ model: embedded.embeddedModel(), name: 'tiny-scenes' })
  })

  test('without the model package the error names the package to install', () => {
    const message = expect.stringMatching(/not installed: npm install @node-latent-diffusion\/tiny-scenes@\d+\.\d+\.\d+ /)
    expect(() => embedded.embeddedModel(() => undefined)).toThrow(expect.objectContaining({ code: 'ERR_IO', message }))
  })

  test('a model inside an asar archive is read from its unpacked folder, or the error names the unpacking rule', () => {
    const inside = path.join(folder, 'app.asar', 'node_modules', 'tiny-scenes.gguf')
    const message = expect.stringContaining('unpack "**/node_modules/@node-latent-diffusion/**"')
    expect(() => embedded.embeddedModel(() => inside)).toThrow(expect.objectContaining({ code: 'ERR_IO', message }))
    const outside = put('app.asar.unpacked/node_modules/tiny-scenes.gguf')
    expect(embedded.embeddedModel(() => inside)).toBe(outside)
  })

  test.each<[unknown, RegExp]>([
    ['', /empty/],
    [7, /must be a path/],
    [null, /must be a path/],
    [Buffer.from('bytes'), /must be a path or a URL, not an instance of Buffer/],
    [[], /must be a path or a URL, not an array/],
    ['file:///a%2Fb', /not the URL of a file/],
    ['a\0b', /NUL/],
    ['https://example.org/model.ckpt', /not the address of a model on .* download the file yourself/],
    [new URL('https://example.org/model.ckpt'), /not the address of a model on/],
    [new URL('ftp://example.org/model.ckpt'), /only file: and https: URLs/],
    ['hf:owner', /hf:owner\/name/],
    ['hf:../..', /hf:owner\/name/],
    ['hf:owner/name/../../../etc', /hf:owner\/name/],
    ['civitai:name', /civitai:VERSION/],
    [{}, /has no weights/],
    [{ tokenizer: '.' }, /has no weights/],
    [{ modell: 'x' }, /Did you mean 'model'/],
    [{ model: '.', controlNet: 'x' }, /not supported/],
  ])('%p is refused', async (source, message) => {
    await expect(resolveSource(source as ModelSource)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })

  test('a folder name keeps a part that looks like an extension; in the Hugging Face cache the name of the repository is used', async () => {
    const v15 = path.dirname(put('stable-diffusion-v1.5/model_index.json', '{}'))
    expect((await resolveSource(v15)).name).toBe('stable-diffusion-v1.5')
    put('hub/models--owner--my.model/snapshots/abc123/model.safetensors')
    const hub = { cacheDir: path.join(folder, 'hub'), localFilesOnly: true }
    expect((await resolveSource('hf:owner/my.model@abc123', { hub })).name).toBe('my.model')
    expect((await resolveSource('hf:owner/my.model@abc123/model.safetensors', { hub })).name).toBe('model')
  })

  test('hub options are checked for every kind of source', async () => {
    const hub = { cachDir: 'x' } as object
    await expect(resolveSource(undefined, { hub })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(/cacheDir/) })
  })

  test('a missing file', async () => {
    const error = await resolveSource(path.join(folder, 'nowhere.safetensors')).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(DiffusionError)
    expect(error).toMatchObject({ code: 'ERR_IO', message: expect.stringMatching(/nowhere\.safetensors does not exist/) })
    // A name without its scheme.
    await expect(resolveSource('owner/name')).rejects.toThrow(/pass hf:owner\/name/)
  })
})

describe('the local Hugging Face cache', () => {
  const saved = { ...process.env }
  beforeAll(() => {
    process.env.HF_HUB_CACHE = path.join(folder, 'hub')
    process.env.HF_HUB_OFFLINE = '1'
    put('hub/models--o--m/refs/main', 'abc123\n')
    put('hub/models--o--m/snapshots/abc123/model_index.json', '{"vae":["diffusers","AutoencoderKL"]}')
    put('hub/models--o--m/snapshots/abc123/vae/diffusion_pytorch_model.safetensors')
    put('hub/models--o--evil/refs/main', '../../..')
  })
  afterAll(() => {
    process.env = saved
  })

  test('a snapshot, by default and by revision, and a file in it', async () => {
    const snapshot = path.join(folder, 'hub', 'models--o--m', 'snapshots', 'abc123')
    expect((await resolveSource('hf:o/m')).model).toBe(snapshot)
    expect((await resolveSource('hf:o/m@abc123')).model).toBe(snapshot)
    expect((await resolveSource('hf:o/m/model_index.json')).model).toBe(path.join(snapshot, 'model_index.json'))
  })

  test('errors for missing models say how to download them', async () => {
    await expect(resolveSource('hf:o/other')).rejects.toMatchObject({
      code: 'ERR_DOWNLOAD',
      reason: 'offline',
      message: expect.stringMatching(/latent pull hf:o\/other/),
    })
  })

  test('a reference to a path outside the cache is rejected', async () => {
    await expect(resolveSource('hf:o/evil')).rejects.toMatchObject({ code: 'ERR_DOWNLOAD' })
  })

  test('environment variables set its folder', () => {
    expect(huggingFaceCache({ HF_HUB_CACHE: '/a', HF_HOME: '/b' })).toBe('/a')
    expect(huggingFaceCache({ HF_HOME: '/b' })).toBe(path.join('/b', 'hub'))
    expect(huggingFaceCache({ XDG_CACHE_HOME: '/c' })).toBe(path.join('/c', 'huggingface', 'hub'))
  })
})

describe('configurations', () => {
  test('a configuration given by the caller must be an existing file', async () => {
    const model = put('named/model.ckpt')
    const config = path.join(folder, 'named', 'nowhere.yaml')
    await expect(resolveSource(model, { config })).rejects.toMatchObject({ code: 'ERR_IO', message: expect.stringContaining('nowhere.yaml') })
    await expect(resolveSource(model, { config: folder })).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: expect.stringMatching(/not a regular file/),
    })
    await expect(resolveSource(model, { config: new URL('https://example.org/x.yaml') })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('a folder of that name next to a checkpoint is ignored', async () => {
    put('folders/config.yaml/inner.txt')
    expect(await resolveSource(put('folders/model.ckpt'))).not.toHaveProperty('config')
  })

  test('NAME.yaml next to the checkpoint takes precedence over config.yaml', async () => {
    const file = put('cfg/model.ckpt')
    put('cfg/config.yaml', 'model: { target: other }')
    expect((await resolveSource(file)).config).toEqual({ model: { target: 'other' } })
    put('cfg/model.yaml', yaml)
    expect((await resolveSource(file)).config).toEqual({
      model: { target: 'ldm.LatentDiffusion', params: { scale_factor: 0.18215, linear_start: 0.00085, use_ema: false } },
    })
  })

  test('a YAML file that is not a model configuration is ignored; a malformed one is an error', async () => {
    const file = put('cfg2/model.ckpt')
    put('cfg2/config.yaml', 'port: 80')
    expect((await resolveSource(file)).config).toBeUndefined()
    put('cfg2/config.yaml', 'model: [')
    await expect(resolveSource(file)).rejects.toBeInstanceOf(ModelFormatError)
  })

  test('a GGUF file contains its own', async () => {
    put('cfg3/config.yaml', yaml)
    expect((await resolveSource(put('cfg3/model.gguf'))).config).toBeUndefined()
  })

  test('can be given as path or object', async () => {
    const file = put('cfg4/model.ckpt')
    const config = put('cfg4/elsewhere.yaml', yaml)
    expect((await resolveSource(file, { config })).config).toHaveProperty('model.params.scale_factor', 0.18215)
    expect((await resolveSource(file, { config: { model: { target: 'x' } } })).config).toEqual({ model: { target: 'x' } })
    await expect(resolveSource(file, { config: { modle: {} } })).rejects.toThrow(/no "model" section/)
    const loop: Record<string, unknown> = { model: {} }
    loop.self = loop
    await expect(resolveSource(file, { config: loop })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test.each([
    [
      'an alias bomb',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
        .split('')
        .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`)
        .join('\n')}\n`,
    ],
    ['a list', '- 1\n- 2\n'],
    ['a scalar', 'hello'],
    ['a duplicate key', 'model: 1\nmodel: 2\n'],
    ['a tab', 'model:\n\t- x'],
  ])('%s is refused', (_name, text) => {
    expect(() => parseConfig(text, 'test.yaml')).toThrow(ModelFormatError)
  })

  test('Python tags are read as plain data', () => {
    expect(parseConfig('model: !!python/object/apply:os.system ["true"]', 'test.yaml')).toEqual({ model: ['true'] })
  })
})

describe('a checkpoint inside an outer zip', () => {
  test('is unpacked with its configuration and deleted afterwards', async () => {
    const inner = Buffer.from('the checkpoint')
    const zip = put(
      'release.zip',
      zipStored([
        { name: 'models/v1/some name.ckpt', data: inner },
        { name: 'config.yaml', data: Buffer.from(yaml) },
      ]),
    )
    const unpacked = await unpackOuterZip(zip)
    expect(readFileSync(unpacked.file)).toEqual(inner)
    expect(path.basename(unpacked.file)).toBe('model.ckpt')
    expect(unpacked.config).toHaveProperty('model.target')
    await unpacked.dispose()
    expect(existsSync(path.dirname(unpacked.file))).toBe(false)
  })

  test.each<[string, Buffer, RegExp]>([
    ['no checkpoint', zipStored([{ name: 'readme.txt', data: Buffer.from('x') }]), /contains no checkpoint/],
    ['two checkpoints', zipStored(['a.ckpt', 'b.ckpt'].map((name) => ({ name, data: Buffer.from(name) }))), /contains 2 checkpoints/],
    ['a name that leaves the folder', zipStored([{ name: '../model.ckpt', data: Buffer.from('x') }]), /cannot be unpacked/],
    ['not a zip', Buffer.from('PK nonsense'), /cannot be unpacked/],
    ['cut off', zipStored([{ name: 'a.ckpt', data: Buffer.alloc(1000) }]).subarray(0, 500), /cannot be unpacked/],
  ])('%s', async (name, bytes, message) => {
    const error = await unpackOuterZip(put(`${name}.zip`, bytes)).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(ModelFormatError)
    expect((error as Error).message).toMatch(message)
  })

  test('a wrong size is detected without a check sum', async () => {
    const bytes = zipStored([{ name: 'a.ckpt', data: Buffer.alloc(100, 1) }])
    // The central directory claims fewer bytes than there are.
    const central = bytes.indexOf(Buffer.from('PK\x01\x02', 'latin1'))
    bytes.writeUInt32LE(50, central + 24)
    await expect(unpackOuterZip(put('size.zip', bytes))).rejects.toBeInstanceOf(ModelFormatError)
  })

  test('removes what killed processes and terminated workers left, if nothing is written there any more', async () => {
    const temporary = path.join(folder, 'temporary')
    const ended = spawnSync(process.execPath, ['-e', '']).pid
    const old = new Date(Date.now() - 2 * 3_600_000)
    const leave = (name: string, fileTime: Date, folderTime: Date) => {
      mkdirSync(path.join(temporary, name), { recursive: true })
      writeFileSync(path.join(temporary, name, 'model.ckpt'), 'x')
      utimesSync(path.join(temporary, name, 'model.ckpt'), fileTime, fileTime)
      utimesSync(path.join(temporary, name), folderTime, folderTime)
      return name
    }
    leave(`latent-unpacked-${ended}-killed`, old, old)
    const worker = leave(`latent-unpacked-${process.pid}-worker`, old, old)
    const kept = [
      leave(`latent-unpacked-${ended}-writing`, new Date(), old),
      leave(`latent-unpacked-${ended}-young`, old, new Date()),
      leave('latent-unpacked-other', old, old),
      leave(`latent-unpacked-${process.ppid}-alive`, old, old),
      ...(process.platform === 'win32' ? [worker] : []),
    ]
    const tmpdir = jest.spyOn(os, 'tmpdir').mockReturnValue(temporary)
    try {
      const unpacked = await unpackOuterZip(put('clean.zip', zipStored([{ name: 'a.ckpt', data: Buffer.alloc(1) }])))
      await unpacked.dispose()
    } finally {
      tmpdir.mockRestore()
    }
    expect(readdirSync(temporary).sort()).toEqual(kept.sort())
  })

  test('an abort leaves nothing behind', async () => {
    const zip = put('abort.zip', zipStored([{ name: 'a.ckpt', data: Buffer.alloc(1 << 20) }]))
    const reason = new Error('stop')
    await expect(unpackOuterZip(zip, AbortSignal.abort(reason))).rejects.toBe(reason)
  })
})
