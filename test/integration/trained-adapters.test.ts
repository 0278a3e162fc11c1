/**
 * The adapters of the embedded model that were really trained (training/train_style.py, training/distill.py): what they do to images. The numbers are far from the
 * bounds on every processor: the adapter for night halves the brightness, and the student's single step is compared with single steps of the model itself.
 */
import { statSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, type GenerateOptions, type RawImage } from '../../lib/index'
import { judge, type Expectation } from '../../scripts/judge/judge.cjs'

const file = (name: string) => path.resolve(__dirname, '..', '..', 'models', 'adapters', `${name}.safetensors`)
const night = file('night')
const student = { loras: [{ path: file('one-step') }], sampler: 'lcm', timesteps: [800], guidanceScale: 1 } satisfies Partial<GenerateOptions<'text'>>

const cases: [prompt: string, colour: string, shape: string][] = [
  ['a red circle on a yellow background', 'red', 'circle'],
  ['an orange triangle on the snow by day', 'orange', 'triangle'],
  ['a yellow star on a purple background', 'yellow', 'star'],
  ['a pink heart on a white background', 'pink', 'heart'],
  ['a green square on a white background', 'green', 'square'],
  ['a white moon on a red background', 'white', 'moon'],
  ['a purple ring on the grass by day', 'purple', 'ring'],
  ['a large orange diamond on a blue background', 'orange', 'diamond'],
]
const expected = ([, color, shape]: (typeof cases)[number]): Expectation => ({ objects: [{ color, shape }] })

let pipe: DiffusionPipeline<'text'>
let usual: RawImage[]

async function drawAll(options: Partial<GenerateOptions<'text'>> = {}): Promise<RawImage[]> {
  const images: RawImage[] = []
  for (const [i, [prompt]] of cases.entries()) images.push((await pipe.generate({ prompt, seed: i + 1, ...options })).images[0]!)
  return images
}

const brightness = ({ data }: RawImage) => data.reduce((sum, value) => sum + value, 0) / data.length / 255
/** Root mean square of the differences over all images, in levels of 0 to 255. */
const difference = (a: RawImage[], b: RawImage[]) =>
  Math.sqrt(a.reduce((sum, { data }, i) => sum + data.reduce((s, value, k) => s + (value - b[i]!.data[k]!) ** 2, 0) / data.length, 0) / a.length)
const right = (images: RawImage[]) => cases.filter((each, i) => judge(images[i]!, expected(each)).objects).length

beforeAll(async () => {
  pipe = await DiffusionPipeline.load(undefined, { kind: 'text', device: 'cpu' })
  usual = await drawAll()
})
afterAll(() => pipe.dispose())

test('each takes at most a megabyte', () => {
  for (const name of ['night', 'one-step']) expect(statSync(file(name)).size).toBeLessThan(1e6)
})

test('it becomes night, whatever the prompt says, and the object stays', async () => {
  const images = await drawAll({ loras: [{ path: night }] })
  for (const [i, image] of images.entries()) {
    expect(brightness(usual[i]!)).toBeGreaterThan(0.3)
    expect(brightness(image)).toBeLessThan(0.8 * brightness(usual[i]!))
    expect(brightness(image)).toBeLessThan(0.4)
  }
  expect(right(usual)).toBe(cases.length)
  expect(right(images)).toBeGreaterThanOrEqual(cases.length - 2)
})

test('with a weight of zero, and after removing it, images are those of the model bit by bit', async () => {
  const [prompt] = cases[0]!
  const draw = async (options: Partial<GenerateOptions<'text'>>) => (await pipe.generate({ prompt, seed: 1, ...options })).images[0]!.data
  expect(Buffer.compare(await draw({ loras: [{ path: night, weight: 0 }] }), usual[0]!.data)).toBe(0)
  await pipe.setLoras([{ path: night }])
  expect(Buffer.compare(await draw({}), usual[0]!.data)).not.toBe(0)
  await pipe.setLoras([])
  expect(Buffer.compare(await draw({}), usual[0]!.data)).toBe(0)
})

test('one step of the student is close to 25 guided steps, one step of the model is not', async () => {
  const { options } = await pipe.generate({ prompt: 'a red circle', seed: 1, ...student })
  expect(options).toMatchObject({ timesteps: [800], guidanceScale: 1 })
  const [drawn, plain, same] = [await drawAll(student), await drawAll({ steps: 1 }), await drawAll({ ...student, loras: [] })]
  // Against the model's usual single step, and against the student's settings without the student.
  expect(difference(drawn, usual)).toBeLessThan(0.4 * difference(plain, usual))
  expect(difference(drawn, usual)).toBeLessThan(0.75 * difference(same, usual))
  expect(right(drawn)).toBeGreaterThanOrEqual(cases.length - 2)
  expect(right(plain)).toBeLessThanOrEqual(2)
})
