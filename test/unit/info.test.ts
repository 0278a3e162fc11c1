import { readInfo } from '../../lib/info'
import type { NativePipeline } from '../../lib/native/contract'

const of = (defaults: object) => readInfo({ info: () => JSON.stringify({ kind: 'text', defaults }) } as unknown as NativePipeline)
const sizes = { width: 512, height: 512, steps: 50, sampler: 'ddim', guidanceScale: 7.5 }

test('what is left to the sampler or the model is absent from the defaults: no value that generate() would refuse', () => {
  expect(of({ ...sizes, schedule: '', eta: -1, clipSkip: 0 })).toEqual({ kind: 'text', defaults: sizes })
})

test('what is settled stays', () => {
  const settled = { ...sizes, schedule: 'karras', eta: 0, clipSkip: 2 }
  expect(of(settled).defaults).toEqual(settled)
})
