/** scripts/gpu-check.sh: a part that fails or takes too long must leave a report of the others. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spawnSync } from 'node:child_process'

const root = path.resolve(__dirname, '..', '..')
const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-gpu-check-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const python = spawnSync('python3', ['--version']).status === 0
const run = process.platform !== 'win32' && python && spawnSync('timeout', ['--version']).status === 0 ? test : test.skip

const built = ['build/Release/latent.node', 'dist/cli/main.js'].every((file) => existsSync(path.join(root, file)))
const smi = `case "$1" in *name*) echo "A card";; *compute_cap*) echo 9.0;; *) echo 1;; esac`
const kernels = `echo '{"device": "A card",'; echo '  "kernels": ['; echo '    {"kind": "conv", "ms": 1}'; echo '  ]'; echo '}'`

interface Report {
  [part: string]: Record<string, unknown>
}

/** Runs the check with programs of these texts; those of the engine in a folder of their own, the others first on the path. */
function check(
  programs: Record<string, string>,
  tools: Record<string, string> = {},
  seconds = '60',
): { status: number | null; report?: Report; stderr: string } {
  const home = mkdtempSync(path.join(folder, 'run-'))
  const write = (place: string, texts: Record<string, string>): void => {
    mkdirSync(path.join(home, place))
    for (const [name, text] of Object.entries(texts)) {
      writeFileSync(path.join(home, place, name), `#!/bin/bash\n${text}\n`)
      chmodSync(path.join(home, place, name), 0o755)
    }
  }
  write('bin', programs)
  write('tools', { 'nvidia-smi': smi, node: `printf '{"arguments": "%s", "library": "%s"}' "$*" "$LATENT_GGML_CUDA_LIBRARY"`, ...tools })
  writeFileSync(path.join(home, 'torch.py'), 'raise ImportError') // none, whatever the machine has
  const out = path.join(home, 'report.json')
  const { status, stderr } = spawnSync('bash', ['scripts/gpu-check.sh', out], {
    cwd: root,
    encoding: 'utf8',
    env: {
      ...process.env,
      PATH: `${path.join(home, 'tools')}:${process.env.PATH}`,
      GPU_CHECK_BIN: path.join(home, 'bin'),
      GPU_CHECK_SECONDS: seconds,
      GPU_CHECK_COMMIT: 'abc',
      PYTHONPATH: home,
    },
  })
  return { status, stderr, ...(existsSync(out) ? { report: JSON.parse(readFileSync(out, 'utf8')) as Report } : {}) }
}

run('without a GPU it is skipped', () => {
  const { status, stderr, report } = check({}, { 'nvidia-smi': 'exit 9' })
  expect(status).toBe(77)
  expect(stderr).toContain('nvidia-smi shows no GPU')
  expect(report).toBeUndefined()
})

run('all parts', () => {
  const { status, report } = check({
    test_cuda_device: 'echo "ok   a"; echo "1 passed, 0 failed"',
    gpu_bench: kernels,
    test_cuda_home: 'echo "$LATENT_CUDA_LIBRARY $LATENT_TEST_FIXTURES"',
    'latent-cuda.so': '',
    'latent-ggml-cuda.so': '',
  })
  expect(status).toBe(0)
  expect(report).toMatchObject({
    machine: { gpu: 'A card', commit: 'abc' },
    tests: { status: '0', passed: '1 passed, 0 failed' },
    goldens: { status: '0', passed: expect.stringMatching(/latent-cuda\.so .*test\/fixtures$/) },
    kernels: { device: 'A card', kernels: [{ kind: 'conv', ms: 1 }] },
    end: { wrong: '0' },
  })
  expect(report?.kernels?.failed).toBeUndefined()
  const skipped = { skipped: expect.stringContaining('is missing') as string }
  const doctor = { arguments: 'dist/cli/main.js doctor --device ggml-cuda --json', library: expect.stringMatching(/latent-ggml-cuda\.so$/) as string }
  expect(report?.['doctor_ggml-cuda']).toEqual(built ? doctor : skipped)
  expect(report?.bench_cuda).toEqual(built ? { arguments: 'dist/cli/main.js bench --device cuda --json', library: '' } : undefined)
})

run('a backend whose images are wrong is reported, and one without a library is skipped', () => {
  const { status, report } = check(
    { test_cuda_device: 'echo "1 passed, 0 failed"', gpu_bench: kernels, 'latent-cuda.so': '' },
    { node: `echo '{"problems": 1}'; exit 1` },
  )
  expect(status).toBe(built ? 1 : 0)
  if (built) expect(report?.doctor_cuda).toMatchObject({ problems: 1, failed: expect.stringContaining('status 1') as string })
  if (!existsSync(path.join(root, 'build/Release/latent-ggml-cuda.so')))
    expect(report?.['doctor_ggml-cuda']).toMatchObject({ skipped: expect.any(String) })
})

run('tests that fail, a program that breaks off and one that crashes do not end the check', () => {
  const { status, report } = check({
    test_cuda_device: 'echo "FAIL attention"; echo "    a.cpp:3: wrong" >&2; echo "0 passed, 1 failed"; exit 1',
    gpu_bench: `[ "$2" = networks ] && kill -SEGV $$
printf '{"device": "A card",\\n  "kernels": [\\n    {"ms": 1},\\n    {"ms": 2},\\n    {"m'; echo "CUDA: an illegal memory access" >&2; exit 1`,
  })
  expect(status).toBe(1)
  expect(report).toMatchObject({
    tests: { status: '1', passed: '0 passed, 1 failed', failures: expect.stringContaining('FAIL attention;    a.cpp:3: wrong') },
    goldens: { skipped: expect.any(String) },
    kernels: { kernels: [{ ms: 1 }, { ms: 2 }], failed: expect.stringContaining('an illegal memory access') },
    networks: { failed: expect.stringContaining('status 139') },
    end: { wrong: '1' },
  })
})

run('a part that hangs is ended with what it wrote, and no part begins when the time is over', () => {
  const { status, report } = check({ test_cuda_device: 'echo "1 passed, 0 failed"', gpu_bench: `echo '{"kernels": [{"ms": 1}'; sleep 100` }, {}, '25')
  expect(status).toBe(1)
  expect(report).toMatchObject({
    kernels: { failed: expect.stringContaining('status 124') },
    networks: { failed: expect.stringContaining('no time was left') },
  })
})

run('a compiler that fails is reported', () => {
  const { status, report } = check({}, { nvcc: 'echo "error: no such thing" >&2; exit 2' })
  expect(status).toBe(1)
  expect(report).toMatchObject({ machine: { gpu: 'A card' }, build: { failed: expect.stringContaining('no such thing') } })
})
