/** The workflows of GitHub Actions, which run elsewhere: that they build every platform and every library for GPUs, and call scripts that there are. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'

interface Step {
  run?: string
  uses?: string
  with?: Record<string, string>
}
interface Job {
  uses?: string
  if?: string
  needs?: string | string[]
  container?: string
  steps?: Step[]
  strategy?: { matrix: { include: { name: string; runner: string; container?: string }[] } }
}

const root = path.resolve(__dirname, '..', '..')
const folder = path.join(root, '.github', 'workflows')
const workflows = new Map(
  readdirSync(folder).map((name) => [name, parse(readFileSync(path.join(folder, name), 'utf8')) as { jobs: Record<string, Job> }]),
)
const jobs = [...workflows].flatMap(([file, { jobs: all }]) => Object.entries(all).map(([name, job]) => ({ file, name, job })))

test('every platform with a package is built', () => {
  const { build, ...others } = workflows.get('binaries.yml')!.jobs
  const built = [...build!.strategy!.matrix.include.map(({ name }) => name), ...Object.keys(others)].sort()
  const table = readFileSync(path.join(root, 'scripts', 'packages', 'platforms.mjs'), 'utf8')
  const platforms = [...table.matchAll(/name: '([\w-]+)'/g)].map(([, name]) => name!).sort()
  expect(platforms.length).toBe(8)
  expect(built).toEqual(platforms)
})

describe('libraries for GPUs', () => {
  const file = 'gpu-libraries.yml'
  const names = ['cuda', 'metal', 'vulkan']
  /** Of the jobs that build libraries, as names of packages. */
  const built = names.flatMap((kind) =>
    workflows.get(file)!.jobs[kind]!.strategy!.matrix.include.map((entry) => ({ kind, package: `${entry.name}-${kind}`, ...entry })),
  )
  const table = () => {
    const program = `import { gpuLibraries } from './scripts/packages/manifests.mjs'
console.log(JSON.stringify(gpuLibraries.flatMap(({ kind, platforms }) => platforms.map(({ name }) => name + '-' + kind))))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: root, encoding: 'utf8' })
    return (JSON.parse(stdout) as string[]).sort()
  }
  const read = (name: string) => readFileSync(path.join(root, 'docs', name), 'utf8')

  test('those of the table of packages are built, documented, and nothing else', () => {
    expect(table().length).toBe(7)
    expect(built.map((each) => each.package).sort()).toEqual(table())
    const documented = [...read('gpu.md').matchAll(/`((?:linux|win32|darwin)-(?:x64|arm64)-(?:cuda|vulkan|metal))`/g)].map(([, name]) => name!)
    expect([...new Set(documented)].sort()).toEqual(table())
  })

  test('each is built by its script on its own processor, and uploaded under the name that the release collects', () => {
    for (const { kind, name, runner, container = '' } of built) {
      const { steps } = workflows.get(file)!.jobs[kind]!
      expect(steps!.map(({ run }) => run?.split(' --')[0])).toContain(`node scripts/prebuild-gpu.mjs ${kind}`)
      expect(steps!.at(-1)).toMatchObject({ with: { name: `prebuild-\${{ matrix.name }}-${kind}`, path: 'prebuilds/' } })
      if (name.startsWith('linux')) expect(runner.endsWith('-arm')).toBe(name.endsWith('arm64'))
      if (container.includes('manylinux')) expect(container).toMatch(name.endsWith('arm64') ? /2_28_aarch64$/ : /2_28_x86_64$/)
    }
    const collected = workflows.get('release.yml')!.jobs.release!
    expect(collected.needs).toEqual(['binaries', 'gpu-libraries'])
    expect(collected.steps).toContainEqual(expect.objectContaining({ with: { pattern: 'prebuild-*', path: 'prebuilds', 'merge-multiple': true } }))
    // The shaders are no binary: the release must not collect them.
    const { steps } = workflows.get(file)!.jobs.shaders!
    expect(steps!.at(-1)!.with!.name).toBe('vulkan-shaders')
  })

  test('the documentation names the systems that they are built on', () => {
    const images = [workflows.get(file)!.jobs.shaders!.container!, ...built.flatMap(({ container }) => container ?? [])]
    for (const image of new Set(images)) expect(read('gpu.md')).toContain(image.replace(/_(x86_64|aarch64)$/, ''))
  })
})

test('scripts they run exist in package.json', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const commands = jobs.flatMap(({ job }) => (job.steps ?? []).flatMap(({ run }) => (run === undefined ? [] : [run]))).join('\n')
  const npm = [...commands.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name!)
  expect(npm).toContain('prebuild')
  expect(npm.filter((name) => scripts[name] === undefined)).toEqual([])
  const files = [...commands.matchAll(/(?:node |jest |^)((?:scripts|test|\.ci)\/[\w./-]+)/gm)].map(([, file]) => file!)
  expect(files).toEqual(expect.arrayContaining(['.ci/run', 'scripts/release.mjs', 'test/package/tarball.test.ts']))
  expect(files.filter((file) => !existsSync(path.join(root, file)))).toEqual([])
})

test('jobs refer to existing jobs and workflows, and actions have a version', () => {
  for (const { file, job } of jobs) {
    for (const need of [job.needs ?? []].flat()) expect(Object.keys(workflows.get(file)!.jobs)).toContain(need)
    if (job.uses !== undefined) expect(existsSync(path.join(root, job.uses))).toBe(true)
    // Those of others have a commit, which cannot be moved.
    const versions = /^(actions\/[\w-]+@v\d+(\.\d+)*|[\w-]+\/[\w-]+@[0-9a-f]{40})$/
    for (const { uses } of job.steps ?? []) if (uses !== undefined) expect(uses).toMatch(versions)
  }
})
