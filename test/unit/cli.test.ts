import { readFileSync } from 'node:fs'
import { camelCase } from '../../lib/options/flags'
import { plural, readFlags, toJson, UsageError, type Flags } from '../../lib/cli/command'
import { outputName, readDrawingOptions } from '../../lib/cli/drawing'
import { readLoadOptions } from '../../lib/cli/model-flags'
import { progressLine } from '../../lib/cli/progress-bar'
import { samplerNames, scheduleNames } from '../../lib/names'
import { cli } from '../helpers/cli'
import manifest from '../../package.json'

describe('the command line', () => {
  test('without a command: usage, exit code 2', async () => {
    const { code, stderr, stdout } = await cli([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/usage: latent COMMAND/)
  })

  test('--help and --version', async () => {
    const help = await cli(['--help'])
    expect(help).toMatchObject({ code: 0, stderr: '' })
    for (const name of [
      'generate',
      'upscale',
      'convert',
      'inspect',
      'estimate',
      'pull',
      'list',
      'verify',
      'rm',
      'rdm',
      'devices',
      'doctor',
      'bench',
      'build',
    ])
      expect(help.stdout).toContain(name)
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' })
  })

  test.each(['generate', 'upscale', 'convert', 'inspect', 'estimate', 'pull', 'list', 'verify', 'rm', 'rdm', 'devices', 'doctor', 'bench', 'build'])(
    '%s --help',
    async (name) => {
      const direct = await cli([name, '--help'])
      expect(direct).toMatchObject({ code: 0, stderr: '' })
      expect(direct.stdout).toContain(`usage: latent ${name} `)
      expect(await cli(['help', name])).toEqual(direct)
      for (const line of direct.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(150)
    },
  )

  test.each<[string[], RegExp]>([
    [['genrate'], /did you mean 'generate'/],
    [['generate', '-m', 'x', '-p', 'y', '--step', '3'], /unknown option --step; did you mean --steps/],
    [['generate', '-m', 'x', '-p', 'y', '--steps', 'many'], /--steps takes a number, not 'many'/],
    [['generate', '-m', 'x', '-p', 'y', '--seed', '-2'], /--seed takes a whole number, or -1 for a random one, not '-2'/],
    [['generate', '-m', 'x', '-p', 'y', '--seed', '-o'], /--seed has no value; .* --seed=-VALUE/],
    [['generate', '-m', 'x', '-p', 'y', '-n', '-1'], /-n has no value; .* --negative-prompt=-VALUE/],
    [['generate', '-m', 'x', '-p', 'y', '-o', 'out.gif'], /--output: .*\.png/],
    [
      ['generate', '-m', 'x', '-p', 'y', '-o', 'no/such/folder/out.png'],
      /--output: no.such.folder.out\.png cannot be written: its folder does not exist/,
    ],
    [['generate', '-m', 'x', '-p', 'y', '--preview', 'out.gif'], /--preview: .*\.png/],
    [['generate', '-m', 'x', '-p', 'y', '--preview-every', '2'], /--preview-every needs --preview FILE/],
    [['generate', '-m', 'x', '-p', 'y', '--preview-method', 'taesd'], /--preview-method needs --preview FILE/],
    [['generate', '-m', 'x', '-p', 'y', '--schedule', '3,x,0'], /--schedule takes a number/],
    [['generate', '-m', 'x', '-p', 'y', '--schedule', 'sigmas: 3,x,0'], /--schedule takes a number, not 'x'/],
    [['generate', '-m', 'x', '-p', 'y', '--schedule', 'timesteps:999,1'], /--schedule takes noise levels .*; use --timesteps/],
    [['generate'], /no prompt given/],
    [['generate', '--steps', '3'], /no prompt given/],
    [['generate', '-m', 'x', '-p', 'y', 'stray'], /the prompt was given twice: 'stray' and -p 'y'/],
    [['generate', 'a', 'red', 'circle'], /expected one PROMPT \(in quotes\), but got a red circle/],
    [['generate', '-m', 'x', '-p', 'y', '--dtype', 'unet='], /part=type/],
    [['generate', '-m', 'x', '-p', 'y', '--ema', '--no-ema'], /--ema and --no-ema cannot be combined/],
    [['inspect', 'x', '--no-ema', '--ema'], /--ema and --no-ema cannot be combined/],
    [['convert', 'x', 'y.gguf', '--ema', '--no-ema'], /--ema and --no-ema cannot be combined/],
    [['generate', '-m', 'x', '--boxes', 'nowhere.json'], /--boxes: nowhere\.json cannot be read/],
    [['generate', '-m', 'x', '--boxes', __filename], /--boxes: .* is not JSON/],
    [['generate', '-m', 'x', '--boxes', 'tsconfig.json'], /--boxes: tsconfig\.json is not a list/],
    [['generate', '-m', 'x', '--k', '3'], /--k needs --neighbours/],
    [['generate', '-m', 'x', '--noise-level', 'much'], /--noise-level takes a number/],
    [['generate', '-m', 'x', '--semanticmap', 'y'], /did you mean --semantic-map/],
    [['upscale', '-m', 'x'], /expected one IMAGE, but got nothing/],
    [['upscale', 'small.png'], /no model given/],
    [['upscale', '-m', 'x', 'small.png', '-o', 'out.gif'], /--output: .*\.png/],
    [['upscale', '-m', 'x', 'small.png', '--strength', '1'], /unknown option --strength/],
    [['rdm', 'index'], /expected index and one FOLDER/],
    [['rdm', 'build', 'x'], /unknown action 'build'/],
    [['rdm', 'index', 'x', '-o', 'y.safetensors'], /no image encoder given/],
    [['rdm', 'index', 'x', '-o', 'y.npz', '--image-encoder', 'z'], /-o must name .* a \.safetensors file/],
    [['rdm', 'index', 'nowhere', '-o', 'y.safetensors', '--image-encoder', 'z'], /nowhere cannot be read/],
    [['rdm', 'index', 'types', '-o', 'y.safetensors', '--image-encoder', 'z'], /types has no images/],
    [['convert', 'x'], /no output given/],
    [['convert', 'x', 'y', 'z'], /expected MODEL and OUT\.gguf/],
    [['convert', '-m', 'x', 'y.gguf', 'z.gguf'], /one argument too many/],
    [['convert', '-o', 'y.gguf'], /no model given/],
    [['inspect', 'a', 'b'], /expected one MODEL/],
    [['devices', 'x'], /x/],
    [['doctor', 'x'], /x/],
    [['doctor', '--timeout', '0'], /--timeout takes seconds/],
    [['worker'], /no queue given: use --queue/],
    [['worker', '--queue', 'redis://127.0.0.1:1'], /no store given: use --store/],
    [['worker', '--queue', 'redis://127.0.0.1:1', '--store', 'x', '--lock', 'long'], /--lock takes a time like 30s/],
    [['serve', '--queue', 'redis://127.0.0.1:1'], /no store given: use --store/],
    [['bench', 'x', '--repeats', '0'], /--repeats/],
    [['bench', 'x', '--all', '--lora', 'y'], /--all and --lora cannot be combined/],
    [['bench', 'x', '--all', '--kernels', 'avx2'], /--all and --kernels cannot be combined/],
    [['bench', 'x', '--all', '--device', 'cuda'], /--all is for the CPU and cannot be combined with --device cuda/],
  ])('%j is a usage error', async (argv, message) => {
    const { code, stderr, stdout } = await cli(argv)
    expect(stderr).toMatch(message)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  test('a missing model: exit code 1 with the error code', async () => {
    const { code, stderr } = await cli(['inspect', 'nowhere.safetensors'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/nowhere\.safetensors does not exist.*\(ERR_IO\)/)
  })

  test('an option that the API rejects: exit code 2', async () => {
    const { code, stderr } = await cli(['generate', '-m', __filename, '-p', 'x', '--device', 'tpu'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/device must be/)
  })
})

test('flags', () => {
  const flags = { width: { kind: 'number', help: '' }, name: { kind: 'text', help: '' }, on: { kind: 'switch', help: '' } } as const satisfies Flags
  const limits = { min: 0, max: 1, names: 'one file' }
  expect(readFlags(flags, ['--width', '64', '--name=a b', '--on', 'file'], limits)).toEqual({
    values: { width: 64, name: 'a b', on: true },
    positionals: ['file'],
  })
  expect(() => readFlags(flags, ['--width'], limits)).toThrow(UsageError)
  expect(() => readFlags(flags, ['--on=1'], limits)).toThrow(UsageError)
})

test('--ema and --no-ema', () => {
  expect([{ ema: true }, { 'no-ema': true }, {}].map((values) => readLoadOptions(values).ema)).toEqual([true, false, undefined])
})

test('--schedule takes a name, or noise levels with or without the prefix', () => {
  const schedule = (text: string) => readDrawingOptions({ schedule: text }).schedule
  expect(schedule('karras')).toBe('karras')
  for (const text of ['14.5,7,0', 'sigmas:14.5,7,0', 'sigmas: 14.5, 7, 0', 'Sigmas : 14.5,7,0'])
    expect(schedule(text)).toEqual(Float32Array.of(14.5, 7, 0))
  expect(schedule('sigmas:3')).toEqual(Float32Array.of(3))
})

test('help and README list the same samplers and schedules', async () => {
  const readme = readFileSync('README.md', 'utf8')
  const { stdout } = await cli(['generate', '--help'])
  for (const [title, names] of [
    ['samplers', samplerNames],
    ['schedules', scheduleNames],
  ] as const) {
    const row = new RegExp(`^\\| ${title} +\\| ([\\w ]+?)(;| +\\|)`, 'm').exec(readme)
    expect(row?.[1]?.split(' ')).toEqual([...names])
    const listed = stdout.slice(stdout.indexOf(`\n${title}: `)).split(/\n(?=\w)/)[1]!
    expect(listed.trim().split(/\s+/)).toEqual([`${title}:`, ...names])
  }
})

test.each(['upscale', 'convert'])('%s does not promise the embedded model', async (name) => {
  expect((await cli([name, '--help'])).stdout).not.toContain('the embedded model')
  expect((await cli(['generate', '--help'])).stdout).toContain('the embedded model')
})

test('singular and plural of steps', () => {
  expect([0, 1, 2].map((count) => plural(count, 'step'))).toEqual(['0 steps', '1 step', '2 steps'])
})

test('names', () => {
  expect(camelCase('guidance-scale')).toBe('guidanceScale')
  expect(outputName('a/out.png', 0, 1)).toBe('a/out.png')
  expect(outputName('a/out.png', 1, 3).replaceAll('\\', '/')).toBe('a/out-2.png')
})

test('JSON represents bigints and typed arrays', () => {
  expect(JSON.parse(toJson({ a: 5n, b: 2n ** 64n - 1n, c: Float32Array.of(1, 0.5) }))).toEqual({ a: 5, b: '18446744073709551615', c: [1, 0.5] })
})

test('progress lines fit the terminal', () => {
  const at = { phase: 'sample', step: 5, steps: 20, elapsedMs: 5000, etaMs: 15000 } as const
  expect(progressLine(at, 80)).toMatch(/^sampling {3}\[=+ +\] 5\/20, 15 s left$/)
  for (const columns of [10, 20, 40, 200]) expect(progressLine(at, columns).length).toBeLessThanOrEqual(columns)
  expect(progressLine({ ...at, phase: 'load', step: 20, etaMs: 0 }, 80)).toMatch(/100%$/)
  expect(progressLine({ ...at, steps: 0, etaMs: null }, 80)).toBe('sampling  ')
})
