import { benchFlags, chosenKernels, measure, render, type BenchValues } from './bench-report.js'
import { checkSet, renderRuns, runAll, runInChild } from './bench-kernels.js'
import { readFlags, toJson, UsageError, type Command } from './command.js'

function check(values: BenchValues): void {
  if (values.repeats !== undefined && !(Number.isInteger(values.repeats) && values.repeats > 0))
    throw new UsageError('--repeats takes a positive whole number')
  if (values.kernels === undefined && !values.all) return
  const given = values.all ? '--all' : '--kernels'
  if (values.device !== undefined && values.device !== 'cpu')
    throw new UsageError(`${given} is for the CPU and cannot be combined with --device ${values.device}`)
  // Flags in which the runs differ, or whose tables have no place in the summary.
  const other = (['kernels', 'precision', 'profile', 'lora'] as const).find((name) => values[name] !== undefined)
  if (values.all && other) throw new UsageError(`--all and --${other} cannot be combined`)
}

export const benchCommand: Command = {
  name: 'bench',
  summary: 'time loading, a network step, the decoder and the encoder, compared with the peak of this machine',
  usage: '[MODEL] [--width N] [--height N] [--repeats N] [--lora FILE] [--kernels SET | --all]',
  flags: benchFlags,
  notes:
    'A step is guided if the model is by default, or with --guidance-scale: a prompt and its counterpart then run as one batch of 2.\n' +
    'The peak is measured in the same run with multiply-adds only.',
  async run(argv, io) {
    const { values, positionals } = readFlags(benchFlags, argv, { min: 0, max: 1, names: 'one MODEL' })
    const [model] = positionals
    check(values)
    if (values.all) {
      const runs = await runAll(await chosenKernels(), values, model, io)
      io.stdout.write(values.json ? toJson({ runs }) : renderRuns(runs))
      return
    }
    if (values.kernels !== undefined) checkSet(values.kernels, await chosenKernels())
    const report = await (values.kernels === undefined ? measure(values, model, io) : runInChild({ set: values.kernels }, values, model, io))
    io.stdout.write(values.json ? toJson(report) : render(report))
  },
}
