/** The declarations with several compilers and module resolutions, and package linters. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import * as packages from '../helpers/packages'
import { folder, installed, name, node, scope, succeed, tool, versionOf } from './context'

const consumer = `import { DiffusionPipeline, type RawImage } from '${name}'
export async function draw(): Promise<RawImage> {
  const pipe = await DiffusionPipeline.load('model.safetensors', { kind: 'text' })
  // @ts-expect-error: text models take no class
  await pipe.generate({ classId: 3 })
  const { images } = await pipe.generate({ prompt: 'a red circle', signal: undefined })
  return images[0]!
}
`

export function declarations(): void {
  const compilers = ['5.4', '5.9', '6']
  const resolutions = [
    ['commonjs', 'node10', 'ts'],
    ['node16', 'node16', 'cts'],
    ['node16', 'node16', 'mts'],
    ['nodenext', 'nodenext', 'cts'],
    ['nodenext', 'nodenext', 'mts'],
    ['esnext', 'bundler', 'ts'],
  ] as const

  test.each(compilers.flatMap((compiler) => resolutions.map((one) => [versionOf(`typescript-${compiler}`), ...one, compiler] as const)))(
    'TypeScript %s, module %s, resolution %s, .%s',
    (_, module, moduleResolution, extension, compiler) => {
      const place = installed()
      const file = `consumer.${extension}`
      writeFileSync(path.join(place, file), consumer)
      const compilerOptions = {
        ...{ noEmit: true, strict: true, target: 'es2022', lib: ['es2022'], types: [], skipLibCheck: false, module, moduleResolution },
        ...(compiler === '6' && moduleResolution === 'node10' ? { ignoreDeprecations: '6.0' } : {}),
      }
      writeFileSync(path.join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
      expect(succeed({}, place, node('20'), tool(`typescript-${compiler}`, 'bin', 'tsc'), '-p', '.')).toBe('')
    },
  )

  const tarball = (of: string) =>
    path.join(folder, 'tarballs', `${of.replace('@', '').replace('/', '-')}-${packages.readManifest(packages.root).version}.tgz`)

  test.each([name, `${scope}/tiny-scenes`])(`publint ${versionOf('publint')}: %s`, (which) => {
    const printed = succeed({}, installed(), node('20'), tool('.bin', 'publint'), '--strict', tarball(which))
    expect(printed).toContain('All good!')
  })

  test.each([name, `${scope}/tiny-scenes`])(`attw ${versionOf('@arethetypeswrong/cli')}: %s`, (which) => {
    // The renderer's entry is for pages, which have no require().
    const flags = ['--format', 'ascii', '--no-emoji', '--ignore-rules', 'cjs-resolves-to-esm']
    expect(succeed({}, installed(), node('20'), tool('.bin', 'attw'), tarball(which), ...flags)).toContain('No problems found')
  })
}
