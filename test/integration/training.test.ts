/** The training scripts of the model inside the package: a few steps of everything. Skipped where Python or a package of training/requirements.txt is missing. */
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const python = process.env.PYTHON ?? 'python3'
const run = (...words: string[]) => spawnSync(python, words, { cwd: path.resolve(__dirname, '..', '..'), encoding: 'utf8', timeout: 280_000 })
const present = run('-c', 'import numpy, PIL, safetensors, scipy, torch').status === 0

;(present ? test : test.skip)(
  'renderer, first stage, text encoder, U-Net, judge and export run',
  () => {
    const { status, stderr } = run('-m', 'training.smoke')
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  },
  300_000,
)
