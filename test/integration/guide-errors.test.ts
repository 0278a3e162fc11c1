/** The errors that the guides of editing and depth models explain, on small models of their kinds. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, RawImage } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

const image = new RawImage({ data: Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 7) % 251), width: 64, height: 48, channels: 3 })
const hole = { data: Float32Array.of(1, NaN), width: 2, height: 1 }

/** The first column of the table of errors. */
function explained(page: string): string[] {
  const text = readFileSync(path.resolve('docs', 'guides', `${page}.md`), 'utf8')
  return [...text.slice(text.indexOf('## Errors')).matchAll(/^\| `(.+?)` /gm)].map(([, message]) => message!)
}

describe.each([
  [
    'edit',
    'sd1-pix2pix',
    [{}, { image, strength: 0.5 }, { image, width: 32, height: 32 }],
    { guidanceScale: 7.5, imageGuidanceScale: 1.5 },
    'imageGuidanceScale is only for editing models',
  ],
  [
    'depth',
    'sd2-depth',
    [{}, { depthMap: image, strength: 0.5 }, { depthMap: hole }, { depthMap: image, hires: { scale: 2 } }],
    { guidanceScale: 9 },
    undefined,
  ],
] as const)('%s', (page, golden, calls, defaults, elsewhere) => {
  let model: GoldenModel
  let pipe: DiffusionPipeline
  beforeAll(async () => {
    model = goldenModel(golden)
    pipe = await DiffusionPipeline.load(model.file, { config: model.golden.config as Record<string, unknown>, device: 'cpu' })
  })
  afterAll(async () => {
    await pipe?.dispose()
    model.remove()
  })

  test('the messages of the guide, in its order', async () => {
    const messages: string[] = []
    for (const call of calls) {
      const error = await pipe.generate({ prompt: 'a cat', ...call }).then(
        () => undefined,
        (reason: Error & { code: string }) => reason,
      )
      expect(error?.code).toBe('ERR_INVALID_ARG')
      messages.push(error!.message)
    }
    const expected = explained(page)
    expect(expected).toHaveLength(calls.length + (elsewhere ? 1 : 0))
    for (const [i, message] of messages.entries()) expect(message).toContain(expected[i])
  })

  test('the defaults of the guide', () => expect(pipe.info.defaults).toMatchObject(defaults))

  if (elsewhere)
    test('the message of other models', async () => {
      await using text = await DiffusionPipeline.load(undefined, { device: 'cpu' })
      expect(explained(page)).toContain(elsewhere)
      await expect(text.generate({ prompt: 'a cat', imageGuidanceScale: 2 })).rejects.toThrow(elsewhere)
    })
})
