import { readFileSync } from 'node:fs'
import path from 'node:path'
import { loadFlags } from '../../lib/cli/model-flags'
import { partTable, previewMethods, sourceParts, weightTypes } from '../../lib/names'
import { resolveLoad } from '../../lib/options/load'
import type { ModelPart, PreviewOptions, WeightType } from '../../lib/types'
import type { JobRequest } from '../../packages/server/src/protocol'
import { jobRequest } from '../../packages/server/src/schemas'

interface Part {
  name: string
  title: string
  hasOwnSource: boolean
  inBlockModels?: string
}

/** What test/native/core/tables_test.cpp holds the engine's tables against. */
const tables = JSON.parse(readFileSync(path.join(__dirname, '../fixtures/tables.json'), 'utf8')) as { weightTypes: string[]; parts: Part[] }

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false

test('parts and weight types equal those of the engine', () => {
  const typed: [Same<ModelPart, keyof typeof partTable>, Same<WeightType, (typeof weightTypes)[number]>] = [true, true]
  expect(typed).toEqual([true, true])
  expect(weightTypes).toEqual(tables.weightTypes)
  expect(Object.entries(partTable).map(([name, traits]) => ({ name, ...traits }))).toEqual(
    tables.parts.map(({ name, title, inBlockModels }) => ({ name, title, ...(inBlockModels ? { inBlockModels } : {}) })),
  )
  expect(sourceParts).toEqual(tables.parts.filter(({ hasOwnSource }) => hasOwnSource).map(({ name }) => name))
})

test('the server accepts the preview methods of the library', () => {
  type ServerMethod = Exclude<JobRequest['preview'], boolean | undefined>['method']
  const typed: [Same<PreviewOptions['method'], (typeof previewMethods)[number] | undefined>, Same<ServerMethod, PreviewOptions['method']>] = [
    true,
    true,
  ]
  expect(typed).toEqual([true, true])
  expect(jobRequest.properties.preview.oneOf[1].properties.method.enum).toEqual(previewMethods)
})

test('a block type for the whole model is resolved per part, as in convert()', () => {
  expect(resolveLoad({ dtype: 'q4_0' }, 'load()').request.dtype).toEqual(
    Object.fromEntries(tables.parts.map(({ name, inBlockModels }) => [name, inBlockModels ?? 'q4_0'])),
  )
  expect(new Set(Object.values(resolveLoad({ dtype: 'f16' }, 'load()').request.dtype))).toEqual(new Set(['f16']))
})

test('the command line has a flag for every part that can be loaded from its own file', () => {
  const flags = sourceParts.map((part) => part.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`))
  expect(Object.keys(loadFlags)).toEqual(expect.arrayContaining(flags))
})
