/** The OpenAPI document and the calls agree: each field that it has is read, and each that is read is in it. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ask, startServer, type Server } from '../helpers/server'

type Schema = { type?: string; oneOf?: Schema[]; properties?: Record<string, Schema>; required?: string[]; enum?: unknown[] }
interface Call {
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>
}

let server: Server
let paths: Record<string, Record<string, Call>>

beforeAll(async () => {
  server = await startServer()
  paths = (await ask(server, '/openapi.json')).json.paths
})
afterAll(async () => server?.close())

const bodyOf = (url: string, type = 'application/json'): Schema => paths[url]!.post!.requestBody!.content[type]!.schema
const sources = path.join(__dirname, '..', '..', 'packages', 'server', 'src')

/** Names of the fields that a source file reads. */
function fieldsReadIn(name: string, call: RegExp): Set<string> {
  return new Set([...readFileSync(path.join(sources, name), 'utf8').matchAll(call)].map(([, field]) => field!))
}

/** A value that no field of this type takes. */
const wrong = ({ type, oneOf }: Schema) => (type === 'string' || oneOf ? {} : type === 'array' ? 'x' : 'much')

test('every POST call with fields has a body and an answer in the document', () => {
  for (const url of [
    '/v1/images/generations',
    '/sdapi/v1/txt2img',
    '/sdapi/v1/img2img',
    '/sdapi/v1/png-info',
    '/sdapi/v1/extra-single-image',
    '/internal/progress',
  ]) {
    expect(Object.keys(bodyOf(url).properties!).length).toBeGreaterThan(0)
    expect(Object.keys(paths[url]!.post!.responses[200]!.content!['application/json']!.schema.properties!).length).toBeGreaterThan(1)
  }
  for (const url of ['/v1/images/edits', '/v1/images/variations']) expect(bodyOf(url, 'multipart/form-data').required).toContain('image')
  expect(Object.keys(bodyOf('/sdapi/v1/options').properties!)).toEqual(['sd_model_checkpoint', 'CLIP_stop_at_last_layers'])
  expect(bodyOf('/latent/v1/jobs').properties).toHaveProperty('negativePrompt')
  for (const url of ['/v1/models', '/v1/models/{model}'])
    expect(paths[url]!.get!.responses[200]!.content!['application/json']!.schema.properties).toHaveProperty('object')
  expect(paths['/sdapi/v1/options']!.get).not.toHaveProperty('requestBody')
})

test('OpenAI: a wrong value of each field is refused by its name', async () => {
  const { properties, required } = bodyOf('/v1/images/generations')
  expect(required).toEqual(['prompt'])
  for (const [field, schema] of Object.entries(properties!)) {
    const value = field === 'latent' ? 'no object' : schema.enum ? 'none of them' : wrong(schema)
    const { status, json } = await ask(server, '/v1/images/generations', { method: 'POST', body: { prompt: 'a cat', [field]: value } })
    expect({ field, status, param: json.error.param }).toEqual({ field, status: field === 'model' ? expect.any(Number) : 400, param: field })
  }
  const read = fieldsReadIn('openai-api.ts', /\b(?:text|number|flag|choice|readSeed)\(fields, '(\w+)'/g)
  const documented = new Set(
    ['/v1/images/edits', '/v1/images/variations'].flatMap((url) => Object.keys(bodyOf(url, 'multipart/form-data').properties!)),
  )
  expect(read.size).toBeGreaterThan(20)
  expect([...read].filter((field) => !documented.has(field))).toEqual([])
})

test('A1111: a wrong value of each field is refused by its name, but for switches, which are off unless they are on', async () => {
  const body = { prompt: 'a cat', enable_hr: true, subseed_strength: 0.5 }
  const { properties } = bodyOf('/sdapi/v1/txt2img')
  const switches = ['enable_hr', 'send_images', 'override_settings']
  for (const [field, schema] of Object.entries(properties!).filter(([each]) => !switches.includes(each))) {
    const { status, text } = await ask(server, '/sdapi/v1/txt2img', { method: 'POST', body: { ...body, [field]: wrong(schema) } })
    expect({ field, status, named: text.includes(field) }).toEqual({ field, status: 422, named: true })
  }
  const read = fieldsReadIn('a1111-requests.ts', /\bread(?:Number|Whole|Text|Seed)\(body, '(\w+)'/g)
  const documented = new Set(['/sdapi/v1/txt2img', '/sdapi/v1/img2img'].flatMap((url) => Object.keys(bodyOf(url).properties!)))
  // Another name of sampler_name, and fields that are only refused.
  const others = new Set(['sampler_index', 'refiner_checkpoint', 'script_name'])
  expect(read.size).toBeGreaterThan(20)
  expect([...read].filter((field) => !documented.has(field) && !others.has(field))).toEqual([])
})
