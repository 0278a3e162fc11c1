/** `latent bench` on models of every kind: the step that it times is one of generate(), and the work it states is that of the operations that run. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { OperationTime } from '../../lib/index'
import { cli } from '../helpers/cli'
import { goldenModel } from '../helpers/model'

const wide = ['--width', '64', '--height', '32']
const square = ['--width', '64', '--height', '64']

interface Case {
  golden: string
  argv?: string[]
  /** What is timed before the steps. */
  encoded: string[]
  evaluations: number
}

const text = ['first prompt', 'text encoder']
const cases: Case[] = [
  { golden: 'sd1', argv: [...square, '--guidance-scale', '1'], encoded: text, evaluations: 1 },
  { golden: 'sd1-pix2pix', encoded: text, evaluations: 3 },
  { golden: 'sd1-pix2pix', argv: [...square, '--image-guidance-scale', '1'], encoded: text, evaluations: 2 },
  { golden: 'sd2-depth', encoded: text, evaluations: 2 },
  { golden: 'sd-x4-upscaler', argv: wide, encoded: text, evaluations: 2 },
  { golden: 'sdxl-base', encoded: text, evaluations: 2 },
  { golden: 'ldm-uncond', argv: wide, encoded: [], evaluations: 1 },
  { golden: 'ldm-cin256-v2', argv: wide, encoded: ['first condition', 'conditioner'], evaluations: 2 },
  { golden: 'ldm-layout2img', argv: wide, encoded: ['first condition', 'text encoder'], evaluations: 1 },
  { golden: 'ldm-semantic', argv: wide, encoded: ['first condition', 'conditioner'], evaluations: 1 },
  { golden: 'ldm-sr', argv: wide, encoded: [], evaluations: 1 },
  { golden: 'ldm-inpaint-big', argv: wide, encoded: [], evaluations: 1 },
  { golden: 'ldm-rdm', argv: ['--width', '128', '--height', '128'], encoded: [], evaluations: 2 },
]

test.each(cases)('$golden $argv', async ({ golden, argv = square, encoded, evaluations }) => {
  const model = goldenModel(golden)
  try {
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    const { code, stdout, stderr } = await cli(['bench', model.file, ...argv, '--repeats', '1', '--profile', '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const report = JSON.parse(stdout)
    expect(report.evaluations).toBe(evaluations)
    const names: string[] = report.stages.map(({ stage }: { stage: string }) => stage)
    expect(names.slice(0, encoded.length + 4)).toEqual(['load', ...encoded, 'first step', 'step', 'decode'])
    const counted = (name: string) => report.operations[name].reduce((sum: number, { gflop }: OperationTime) => sum + gflop, 0)
    const stated = (name: string) => report.stages.find(({ stage }: { stage: string }) => stage === name).gflop
    for (const name of ['step', 'decode']) {
      const share = counted(name) / stated(name)
      expect(share).toBeGreaterThan(0.85) // keys and values of the condition are computed once, before the operations are timed
      expect(share).toBeLessThan(1.05)
    }
  } finally {
    model.remove()
  }
})

test('in int8, scores of self-attention are 8-bit products, those of a prompt are not', async () => {
  const attention = async (...argv: string[]) => {
    const { code, stdout, stderr } = await cli(['bench', '--kernels', 'portable', '--repeats', '1', '--profile', '--json', ...argv])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const operations: string[] = JSON.parse(stdout).operations.step.map(({ operation }: OperationTime) => operation)
    return operations.filter((name) => name.startsWith('attention')).sort()
  }
  const [itself, prompt] = [
    ['4x32 16 on 16', '4x32 64 on 64'],
    ['4x32 16 on 77', '4x32 64 on 77'],
  ]
  const named = (words: string, sizes: string[]) => sizes.map((size) => `${words} ${size}`)
  expect(await attention('--dtype', 'int8')).toEqual([...named('attention', prompt), ...named('attention int8', itself)])
  expect(await attention()).toEqual(named('attention', ['4x32 16 on 16', '4x32 16 on 77', '4x32 64 on 64', '4x32 64 on 77']))
})
