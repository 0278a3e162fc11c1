/** The page's request as a curl command, JavaScript, or a `latent` command. Images are file names. */
import type { JobOptions } from '../api/job-options.js'

export interface Attached {
  image: boolean
  mask: boolean
  /** Absent in the history of earlier versions. */
  depthMap?: boolean
}

const shell = (text: string) => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/** `needsToken`: the token itself is not part of the text, which may be passed on; the shell inserts it. */
export function asCurl(origin: string, options: JobOptions, attached: Attached, needsToken = false): string {
  const header = needsToken ? ' \\\n  -H "authorization: Bearer $LATENT_TOKEN"' : ''
  const address = `curl ${shell(`${origin}/latent/v1/jobs`)}${header}`
  const body = JSON.stringify(options)
  if (!attached.image && !attached.depthMap) return [address, "-H 'content-type: application/json'", `-d ${shell(body)}`].join(' \\\n  ')
  const files = [
    ...(attached.image ? ['-F image=@picture.png'] : []),
    ...(attached.mask ? ['-F mask=@mask.png'] : []),
    ...(attached.depthMap ? ['-F depthMap=@depth.png'] : []),
  ]
  // -F would end at a semicolon.
  return [address, `--form-string ${shell(`request=${body}`)}`, ...files].join(' \\\n  ')
}

/** Model names exist only on the server; elsewhere a model is a file. The embedded model needs no name. */
const modelFile = ({ model }: JobOptions) => (model === undefined || model === builtIn ? undefined : `path/to/${model}`)
const builtIn = 'tiny-scenes'
const library = 'node-latent-diffusion'

const given = (values: object) => Object.entries(values).filter(([, value]) => value !== undefined) as [key: string, value: unknown][]

export function asJavaScript(options: JobOptions, attached: Attached): string {
  const { seed, variationSeed } = options
  const file = modelFile(options)
  const own = { ...options, model: undefined, seed: undefined, variationSeed: undefined }
  const files = {
    image: attached.image ? 'picture.png' : undefined,
    mask: attached.mask ? 'mask.png' : undefined,
    depthMap: attached.depthMap ? 'depth.png' : undefined,
  }
  const lines = given({ ...own, ...files }).map(([key, value]) => `  ${key}: ${typeof value === 'string' ? quote(value) : JSON.stringify(value)},`)
  for (const [key, value] of given({ seed, variationSeed }) as [string, number | string][])
    lines.push(`  ${key}: ${BigInt(value) > BigInt(Number.MAX_SAFE_INTEGER) ? `${value}n` : value},`)
  return [
    'import { DiffusionPipeline } from ' + quote(library),
    '',
    `const pipe = await DiffusionPipeline.load(${file === undefined ? '' : quote(file)})`,
    `const { images } = await pipe.generate({\n${lines.join('\n')}\n})`,
    "await images[0].save('out.png')",
    'await pipe.dispose()',
  ].join('\n')
}

function quote(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}

const flags: Partial<Record<keyof JobOptions, string>> = {
  negativePrompt: '--negative-prompt',
  width: '--width',
  height: '--height',
  steps: '--steps',
  guidanceScale: '--guidance-scale',
  imageGuidanceScale: '--image-guidance-scale',
  sampler: '--sampler',
  schedule: '--schedule',
  count: '--count',
  seed: '--seed',
  variationSeed: '--variation-seed',
  variationStrength: '--variation-strength',
  strength: '--strength',
  clipSkip: '--clip-skip',
  classId: '--class',
}

export function asCommand(options: JobOptions, attached: Attached): string {
  const words = ['latent', 'generate']
  // A text that begins with a dash would be a flag.
  const add = (flag: string, text: string) => words.push(`${flag}${text.startsWith('-') ? '=' : ' '}${shell(text)}`)
  if (options.prompt?.startsWith('-')) add('--prompt', options.prompt)
  else if (options.prompt !== undefined) words.push(shell(options.prompt))
  for (const [key, value] of given(options)) {
    const flag = flags[key as keyof JobOptions]
    if (flag !== undefined) add(flag, typeof value === 'string' ? value : JSON.stringify(value))
  }
  for (const [key, value] of given(options.hires ?? {})) words.push(`--hires-${key} ${shell(String(value))}`)
  const file = modelFile(options)
  if (file !== undefined) words.push(`--model ${shell(file)}`)
  if (attached.image) words.push('--image picture.png')
  if (attached.mask) words.push('--mask mask.png')
  if (attached.depthMap) words.push('--depth-map depth.png')
  return words.join(' ')
}
