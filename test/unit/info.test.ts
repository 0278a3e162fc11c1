import { readInfo } from '../../lib/api/info'
import type { NativePipeline } from '../../lib/native/contract'

const read = (info: object) =>
  readInfo({ info: () => JSON.stringify({ schedules: ['normal', 'custom'], defaults: sizes, ...info }) } as unknown as NativePipeline)
const of = (defaults: object) => read({ kind: 'text', defaults })
const sizes = { width: 512, height: 512, steps: 50, sampler: 'ddim', guidanceScale: 7.5 }

test('options left to the sampler or the model are absent from the defaults', () => {
  expect(of({ ...sizes, schedule: '', eta: -1, clipSkip: 0 })).toEqual({ kind: 'text', defaults: sizes, schedules: ['normal'] })
})

test('fixed defaults are kept', () => {
  const settled = { ...sizes, schedule: 'karras', eta: 0, clipSkip: 2 }
  expect(of(settled).defaults).toEqual(settled)
})

test('the null class is not counted among the classes', () => {
  const spec = { conditioners: [{ kind: 'class', params: { names: ['tench', 'crane'] } }] }
  expect(read({ kind: 'class', spec, condition: { classes: 3, nullClass: 2 } })).toMatchObject({
    condition: { classes: 2 },
    classes: ['tench', 'crane'],
  })
  expect(read({ kind: 'class', spec, condition: { classes: 2 } }).condition).toEqual({ classes: 2 })
})
