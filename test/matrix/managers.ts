/** Package managers: each installs from the registry, without a warning about install scripts, and its project generates an image. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { platformName } from '../../lib/native/platform-package'
import { environment, expectPicture, fail, name, node, project, registryUrl, scope, succeed, tool, versionOf } from './context'

/** Messages of package managers about install scripts. */
const ofScripts = /install[- ]scripts?|build scripts?|IGNORED_BUILDS|YN0004|YN0007|node-gyp|blocked/i

export function expectQuiet(printed: string): void {
  expect(ofScripts.exec(printed)?.[0]).toBeUndefined()
}

/** Without CMake on the path, `latent build` reports that it is missing: the sources were found, and nothing is compiled. */
function expectSources(variables: Record<string, string>, place: string, command: string, ...args: string[]): void {
  const printed = fail(
    { ...variables, PATH: path.dirname(process.execPath) === '/usr/bin' ? place : path.dirname(process.execPath) },
    place,
    command,
    ...args,
  )
  expect(printed).toContain('no cmake was found on the PATH')
}

export function managers(): void {
  test.each(
    (
      [
        ['npm-11', '20'],
        ['npm-12', '24'],
      ] as const
    ).map(([manager, major]) => [versionOf(manager), versionOf(`node-${major}`), manager, major] as const),
  )('npm %s on Node.js %s', (_npm, _node, manager, major) => {
    const place = project(manager)
    const variables = environment(place)
    const npm = tool(manager, 'bin', 'npm-cli.js')
    expectQuiet(succeed(variables, place, node(major), npm, 'install', name))
    expect(readdirSync(path.join(place, 'node_modules', scope)).sort()).toEqual([platformName(), 'tiny-scenes'].sort())
    expectPicture(succeed(variables, place, node(major), 'draw.mjs'))
    // A second install, at which npm 12 reports blocked scripts.
    expectQuiet(succeed(variables, place, node(major), npm, 'install'))
  })

  test(`pnpm ${versionOf('pnpm')}, with the source package`, () => {
    const place = project('pnpm')
    const variables = environment(place)
    const pnpm = tool('.bin', 'pnpm')
    expectQuiet(succeed(variables, place, pnpm, 'add', name))
    expect(existsSync(path.join(place, 'node_modules', scope))).toBe(false)
    expectPicture(succeed(variables, place, process.execPath, 'draw.mjs'))
    expectQuiet(succeed(variables, place, pnpm, 'add', `${scope}/source`))
    const latent = path.join(place, 'node_modules', name, 'dist', 'cli', 'main.js')
    expectSources(variables, place, process.execPath, latent, 'build')
  })

  test.each(['pnp', 'node-modules'])(`yarn ${versionOf('@yarnpkg/cli-dist')} (%s)`, (linker) => {
    const place = project(`yarn-${linker}`)
    const variables = environment(place)
    const yarn = [tool('@yarnpkg', 'cli-dist', 'bin', 'yarn.js')]
    const settings = {
      nodeLinker: linker,
      npmRegistryServer: registryUrl().replace(/\/$/, ''),
      unsafeHttpWhitelist: ['127.0.0.1'],
      enableTelemetry: false,
      enableImmutableInstalls: false,
      ...(linker === 'pnp' && { pnpEnableEsmLoader: true }), // Yarn's condition for import in a project that is not "type": "module"
    }
    writeFileSync(path.join(place, '.yarnrc.yml'), JSON.stringify(settings))
    writeFileSync(path.join(place, 'yarn.lock'), '')
    expectQuiet(succeed(variables, place, process.execPath, ...yarn, 'add', name))
    expect(existsSync(path.join(place, '.pnp.cjs'))).toBe(linker === 'pnp')
    expectPicture(succeed(variables, place, process.execPath, ...yarn, 'node', 'draw.mjs'))
    expectPicture(succeed(variables, place, process.execPath, ...yarn, 'node', 'draw.cjs'))
  })

  test(`bun ${versionOf('@oven/bun-linux-x64')}`, () => {
    const place = project('bun')
    const variables = environment(place)
    const bun = tool('@oven', 'bun-linux-x64', 'bin', 'bun')
    expectQuiet(succeed(variables, place, bun, 'add', name, '--registry', registryUrl()))
    expectPicture(succeed(variables, place, bun, 'draw.mjs'))
  })
}
