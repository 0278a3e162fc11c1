/** Images for the CLIP image encoder: torch's bicubic resize, then mean and deviation. */
import { readFileSync } from 'node:fs'
import { resizeBicubic, toClipInput } from '../../lib/image/clip-input'
import { maxDifference, uniform } from '../helpers/golden'
import { readArrays } from '../helpers/safetensors'

const fixture = 'test/fixtures/procedures/image_latent_resize'

describe('bicubic, borders aligned', () => {
  const { cases, tolerance } = JSON.parse(readFileSync(`${fixture}.json`, 'utf8'))
  const expected = readArrays(`${fixture}.safetensors`)
  const latent = Float32Array.from(uniform('latent:z', 0, 4 * 8 * 6), (v) => v * Math.sqrt(3))
  const cubic = cases.filter(({ mode, antialias }: any) => mode === 'bicubic' && !antialias)

  test('the fixture has cases', () => expect(cubic.length).toBeGreaterThanOrEqual(4))

  test.each(cubic.map(({ id, to_hw }: any) => [id, to_hw]) as [string, [number, number]][])('%s', async (id, size) => {
    expect(maxDifference(await resizeBicubic(latent, [4, 8, 6], size, false), expected[id]!.data)).toBeLessThanOrEqual(tolerance.abs)
  })
})

describe('bicubic, corners aligned', () => {
  const wave = Float32Array.from({ length: 35 }, (_, i) => Math.sin(Math.fround(i * Math.fround(1.7))))

  /** torch 1.13: interpolate(sin(1.7 * arange(35)) as [5, 7], mode='bicubic', align_corners=True) */
  const expected: [[number, number], number[]][] = [
    [
      [3, 4],
      [0.0, -0.255541, 0.494114, -0.699875, -0.971798, 0.879273, -0.728361, 0.529083, -0.458328, 0.670229, -0.837628, 0.949405],
    ],
    [
      [8, 9],
      // prettier-ignore
      [
        0.0, 0.898532, 0.523869, -0.588861, -0.925815, 0.116745, 0.91989, 0.491116, -0.699875, -0.321509, 0.769685, 0.73979, -0.302934, -0.985897, -0.19982, 0.797664,
        0.710147, -0.423786, -0.7104, 0.486093, 0.926489, 0.126633, -0.926952, -0.599328, 0.519043, 0.905262, 0.009666, -0.91231, 0.20149, 0.943335, 0.439684, -0.754814,
        -0.824599, 0.233756, 0.931485, 0.341705, -1.013808, -0.196198, 0.803353, 0.76392, -0.40593, -0.970923, -0.170329, 0.805497, 0.706945, -0.957353, -0.48151,
        0.585903, 0.915521, -0.078094, -0.955345, -0.464123, 0.598725, 0.898319, -0.713662, -0.766841, 0.198948, 0.949798, 0.362068, -0.765162, -0.763575, 0.223375,
        0.98737, -0.458328, -0.897272, -0.108238, 0.875262, 0.649613, -0.543995, -0.904797, -0.077794, 0.949405,
      ],
    ],
    [[5, 7], Array.from(wave)],
    [[1, 1], [0]],
  ]

  test.each(expected)('to %j', async (size, values) => {
    expect(maxDifference(await resizeBicubic(wave, [1, 5, 7], size, true), values)).toBeLessThanOrEqual(2e-6)
  })

  test('channels do not mix', async () => {
    const both = Float32Array.from([...wave, ...wave.map((x) => -x)])
    const out = await resizeBicubic(both, [2, 5, 7], [4, 6], true)
    expect(
      maxDifference(
        out.subarray(24),
        out.subarray(0, 24).map((x) => -x),
      ),
    ).toBe(0)
  })
})

test('white and black images of any size and kind are normalised as for CLIP', async () => {
  for (const channels of [1, 3, 4] as const) {
    const picture = (value: number) => ({ width: 5, height: 3, channels, data: new Uint8Array(15 * channels).fill(value) })
    const [white, black] = [await toClipInput(picture(255)), await toClipInput(picture(0), 8)]
    expect([white.shape, black.shape]).toEqual([
      [1, 3, 224, 224],
      [1, 3, 8, 8],
    ])
    for (const [channel, [high, low]] of [
      [1.9303361, -1.7922626],
      [2.0748837, -1.7520971],
      [2.1458969, -1.4802198],
    ].entries()) {
      const plane = ({ data }: { data: Float32Array }, size: number) => data.subarray(channel * size, (channel + 1) * size)
      expect(maxDifference(plane(white, 224 * 224), new Float32Array(224 * 224).fill(high!))).toBeLessThan(1e-5)
      expect(maxDifference(plane(black, 64), new Float32Array(64).fill(low!))).toBeLessThan(1e-5)
    }
  }
})
