/** The workflows of GitHub Actions, which run elsewhere: that they build every platform and call scripts that there are. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'

interface Step {
  run?: string
  uses?: string
}
interface Job {
  uses?: string
  needs?: string
  steps?: Step[]
  strategy?: { matrix: { include: { name: string; runner: string }[] } }
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
    if (job.needs !== undefined) expect(Object.keys(workflows.get(file)!.jobs)).toContain(job.needs)
    if (job.uses !== undefined) expect(existsSync(path.join(root, job.uses))).toBe(true)
    for (const { uses } of job.steps ?? []) if (uses !== undefined) expect(uses).toMatch(/^[\w-]+\/[\w-]+@v\d+$/)
  }
})
