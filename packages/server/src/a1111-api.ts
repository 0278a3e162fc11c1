/** The API of AUTOMATIC1111's web UI, `/sdapi/v1`: the calls that clients use. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { freemem, totalmem } from 'node:os'
import path from 'node:path'
import { parseInfotext, RawImage, type HostedModel, type JobEvent, type PipelineInfo } from 'node-latent-diffusion'
import { embeddingsOf, lorasOf, vaeOf } from './a1111-files.js'
import {
  latentUpscalers,
  missing,
  readCommon,
  readHires,
  readImg2img,
  readNumber,
  readText,
  unprocessable,
  type Asked,
  type Body,
} from './a1111-requests.js'
import type { Tasks } from './a1111-tasks.js'
import { base64, readTaskId, stamp, stopped, type Task } from './a1111-tasks.js'
import { samplerList, schedulerList } from './a1111-words.js'
import { HttpError, type Answer } from './errors.js'
import { Hashes } from './hashes.js'
import { refuseElsewhere } from './latent-api.js'
import { readPicture } from './pictures.js'
import type { RunResult } from './queue.js'
import { checkLimits, seedsOf } from './requests.js'
import type { Context } from './server.js'
import { clientSignal } from './streams.js'

/** An error in the web UI's format. */
export function a1111Error({ status, error }: Answer) {
  return { error: status === 422 ? 'Unprocessable' : error.code, detail: error.message, body: '', errors: error.message }
}

class WebUi {
  readonly #context: Context
  readonly tasks: Tasks
  readonly hashes = new Hashes()
  #checkpoint: string | undefined
  /** The web UI's count: 1 is the last layer. */
  #clipSkip = 1

  constructor(context: Context, tasks: Tasks) {
    this.#context = context
    this.tasks = tasks
  }

  get checkpoint(): string {
    const { models } = this.#context
    return this.#checkpoint !== undefined && models.names().includes(this.#checkpoint) ? this.#checkpoint : models.defaultName
  }

  info(model = this.checkpoint): Promise<PipelineInfo> {
    return this.#context.models.info(model)
  }

  describe(model: string) {
    const file = this.#context.models.fileOf(model)
    const sha256 = this.hashes.of(file) ?? null
    const hash = sha256 === null ? null : sha256.slice(0, 10)
    const base = file === undefined ? model : path.basename(file)
    return { title: hash === null ? base : `${base} [${hash}]`, model_name: model, hash, sha256, filename: base, config: null }
  }

  /** How the current model is loaded. */
  get loading(): Partial<HostedModel> {
    return this.#context.models.optionsOf(this.checkpoint)
  }

  /** A model by any of its names in the web UI. */
  find(text: string): string {
    const wanted = text.replace(/\s*\[[0-9a-f]{10}\]$/, '')
    const found = this.#context.models.names().find((name) => {
      const { title, filename, hash, sha256 } = this.describe(name)
      return [name, title, filename].includes(text) || [name, filename].includes(wanted) || (hash !== null && (text === hash || text === sha256))
    })
    if (found === undefined) throw missing(`model '${text.slice(0, 100)}' not found`)
    return found
  }

  options() {
    return {
      ...{ samples_save: false, samples_format: 'png', sd_model_checkpoint: this.describe(this.checkpoint).title },
      ...{
        sd_checkpoint_hash: this.describe(this.checkpoint).sha256,
        sd_vae: vaeOf(this.loading) ?? 'Automatic',
        CLIP_stop_at_last_layers: this.#clipSkip,
        show_progress_every_n_steps: 1,
      },
    }
  }

  setOptions(body: Body): void {
    const checkpoint = readText(body, 'sd_model_checkpoint')
    if (checkpoint !== undefined) this.#checkpoint = this.find(checkpoint)
    this.#clipSkip = Math.trunc(readNumber(body, 'CLIP_stop_at_last_layers', 1, 100) ?? this.#clipSkip)
  }

  async draw(body: Body, request: FastifyRequest, reply: FastifyReply, read: (body: Body, info: PipelineInfo) => Promise<Asked>) {
    const { room, settings } = this.#context
    room.admit(request.ip) // before images are decoded
    const override = typeof body.override_settings === 'object' && body.override_settings !== null ? (body.override_settings as Body) : {}
    const checkpoint = readText(override, 'sd_model_checkpoint')
    const model = checkpoint === undefined ? this.checkpoint : this.find(checkpoint)
    const info = await this.info(model)
    const asked = await read(body, info)
    const { options, rounds } = asked
    const clipSkip = Math.trunc(readNumber(override, 'CLIP_stop_at_last_layers', 1, 100) ?? this.#clipSkip)
    if (clipSkip > 1) options.clipSkip = clipSkip
    await checkLimits({ ...options, count: (options.count ?? 1) * rounds }, info, settings.limits)
    const parameters = echo(body)
    const firstSteps = options.steps ?? info.defaults.steps
    const task = this.tasks.add({
      id: readTaskId(body),
      rounds,
      steps: firstSteps + (options.hires ? (options.hires.steps ?? firstSteps) : 0),
    })
    const images: RawImage[] = []
    let first: RunResult | undefined
    try {
      const signal = clientSignal(reply)
      for (let seeds: Partial<ReturnType<typeof seedsOf>> = {}; task.done < rounds && !task.interrupted; task.done++) {
        const result = await this.#round({ ...asked, options: { ...options, ...seeds } }, task, model, request, signal)
        if (!result) continue
        first ??= result
        seeds = seedsOf(result, result.images.length)
        for (const image of result.images) images.push(await asked.finish(await image.raw()))
      }
    } finally {
      this.tasks.finish(task)
    }
    const encoded: string[] = []
    for (const image of images) encoded.push(await base64(new RawImage({ ...pixels(image), metadata: image.metadata })))
    return {
      images: body.send_images === false ? [] : encoded,
      parameters,
      info: JSON.stringify(this.#report(images, first, model, clipSkip)),
    }
  }

  /** One of the rounds; undefined if it was skipped or interrupted. */
  async #round({ options }: Asked, task: Task, model: string, request: FastifyRequest, signal: AbortSignal): Promise<RunResult | undefined> {
    task.beginRound()
    const onEvent = (event: JobEvent) => task.take(event)
    const { room } = this.#context
    const goesOn = task.done > 0
    try {
      task.run = room.submit({ api: 'a1111', model, options: { ...options, preview: {} }, client: request.ip, goesOn, signal, onEvent })
      return await task.run.promise
    } catch (error) {
      if (error === stopped) return undefined
      if (!room.isClosing || !goesOn) throw error
      task.interrupted = true // the answer contains the rounds that finished in time
      return undefined
    }
  }

  #report(images: RawImage[], result: RunResult | undefined, model: string, clipSkip: number) {
    const infotexts = images.map(({ metadata }) => metadata.parameters ?? '')
    const fields = infotexts.map((text) => parseInfotext(text).fields)
    const { options } = result ?? {}
    const seeds = fields.map(({ Seed = '0' }) => Number(Seed))
    const subseeds = fields.map((each, i) => Number(each['Variation seed'] ?? seeds[i]))
    const { hash } = this.describe(model)
    return {
      ...{ prompt: options?.prompt ?? '', all_prompts: images.map(() => options?.prompt ?? '') },
      ...{ negative_prompt: options?.negativePrompt ?? '', all_negative_prompts: images.map(() => options?.negativePrompt ?? '') },
      ...{ seed: seeds[0] ?? -1, all_seeds: seeds, subseed: subseeds[0] ?? -1, all_subseeds: subseeds },
      subseed_strength: options?.variationStrength ?? 0,
      ...{
        width: images[0]?.width ?? 0,
        height: images[0]?.height ?? 0,
        sampler_name: fields[0]?.Sampler ?? '',
        cfg_scale: options?.guidanceScale ?? 0,
      },
      ...{ steps: options?.steps ?? 0, batch_size: options?.count ?? 0, restore_faces: false, face_restoration_model: null },
      ...{
        sd_model_name: model,
        sd_model_hash: hash,
        sd_vae_name: vaeOf(this.#context.models.optionsOf(model)) ?? null,
        sd_vae_hash: null,
        seed_resize_from_w: -1,
        seed_resize_from_h: -1,
      },
      ...{
        denoising_strength: options?.strength ?? (options?.hires as { strength?: number } | undefined)?.strength ?? null,
        extra_generation_params: {},
        index_of_first_image: 0,
        infotexts,
        styles: [],
      },
      ...{
        job_timestamp: stamp(),
        clip_skip: clipSkip,
        is_using_inpainting_conditioning: false,
        version: `node-latent-diffusion ${this.#context.version}`,
      },
    }
  }
}

const pixels = ({ data, width, height, channels }: RawImage) => ({ data, width, height, channels })

/** The request without its images, which are long. */
function echo(body: Body): Record<string, unknown> {
  const shown = {
    ...body,
    ...('init_images' in body && body.include_init_images !== true ? { init_images: null } : {}),
    ...('mask' in body ? { mask: null } : {}),
  }
  try {
    JSON.stringify(shown)
  } catch {
    throw unprocessable('The request is nested too deeply')
  }
  return shown
}

async function readInfotext(body: Body, { settings }: Context) {
  const { metadata } = await readPicture(readText(body, 'image') ?? '', 'image', settings.limits)
  const info = metadata.parameters ?? ''
  const { prompt, negativePrompt, fields } = parseInfotext(info)
  return { info, items: { ...metadata }, parameters: info === '' ? {} : { Prompt: prompt, 'Negative prompt': negativePrompt, ...fields } }
}

const filters = { Lanczos: 'lanczos', Nearest: 'nearest' } as const

async function upscale(body: Body, { settings }: Context) {
  for (const key of ['gfpgan_visibility', 'codeformer_visibility'])
    if ((readNumber(body, key, 0, 1) ?? 0) > 0) throw unprocessable(`${key}: face restoration is not supported by this server`)
  const image = await readPicture(readText(body, 'image') ?? '', 'image', settings.limits)
  const name = readText(body, 'upscaler_1') ?? 'None'
  if (name !== 'None' && !Object.hasOwn(filters, name))
    throw unprocessable(`upscaler_1: there is no '${name.slice(0, 100)}'; use None, Lanczos or Nearest`)
  const factor = readNumber(body, 'upscaling_resize', 0.05, 8) ?? 2
  const bySize = readNumber(body, 'resize_mode', 0, 1) === 1
  const side = (key: string, own: number) => Math.max(1, Math.round(bySize ? (readNumber(body, key, 1, 16384) ?? 512) : own * factor))
  const [width, height] = [side('upscaling_resize_w', image.width), side('upscaling_resize_h', image.height)]
  if (width * height > settings.limits.maxPixels)
    throw unprocessable(`${width}x${height} exceeds the ${settings.limits.maxPixels} pixels that this server allows`)
  const made = name === 'None' ? image : await image.resize(width, height, { filter: filters[name as keyof typeof filters] })
  return { html_info: '', image: await base64(made) }
}

const bodyOf = ({ body }: FastifyRequest): Body => {
  if (body === undefined || body === null) return {}
  if (typeof body !== 'object' || Array.isArray(body)) throw unprocessable('The body must be a JSON object')
  return body as Body
}

/** Calls of the web UI outside its API. */
export function internalApi(tasks: Tasks) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get('/ping', { schema: { hide: true } }, async () => ({}))
    const schema = { tags: ['a1111'], summary: 'Progress of a request, by its force_task_id' }
    app.post('/progress', { schema }, async (request) => tasks.progressOf(bodyOf(request)))
  }
}

export function a1111Api(context: Context, tasks: Tasks) {
  return async (app: FastifyInstance): Promise<void> => {
    const { models, settings, sides } = context
    const ui = new WebUi(context, tasks)
    app.addHook('onClose', async () => ui.hashes.close())
    const tags = ['a1111']
    const get = (url: string, summary: string, answer: (request: FastifyRequest) => unknown) =>
      app.get(url, { schema: { tags, summary } }, async (request) => answer(request))
    const post = (url: string, summary: string, answer: (request: FastifyRequest, reply: FastifyReply) => unknown) =>
      app.post(url, { schema: { tags, summary } }, async (request, reply) => {
        const value = await answer(request, reply)
        return value === undefined || value === null ? reply.type('application/json').send('null') : value
      })

    post('/txt2img', 'Generate images from a prompt', (request, reply) => {
      return ui.draw(bodyOf(request), request, reply, async (body, info) => {
        const asked = readCommon(body, info, settings.limits)
        return { ...asked, options: { ...asked.options, ...readHires(body, info) } }
      })
    })
    post('/img2img', 'Image to image, and inpainting', (request, reply) => {
      return ui.draw(bodyOf(request), request, reply, (body, info) => readImg2img(body, info, settings.limits))
    })
    get('/progress', 'Progress of the running request', ({ query }) =>
      ui.tasks.progress((query as { skip_current_image?: string }).skip_current_image !== 'true'),
    )
    post('/interrupt', 'Stop the running request and return finished images', () => {
      ui.tasks.stop('interrupted')
      return {}
    })
    post('/skip', 'Skip the rest of the current iteration', () => void ui.tasks.stop('skipped'))
    get('/options', 'Settings', () => ui.options())
    post('/options', 'Change settings; unknown ones are ignored', (request) => ui.setOptions(bodyOf(request)))
    get('/sd-models', 'The models', () => models.names().map((name) => ui.describe(name)))
    get('/samplers', 'Samplers', async () => samplerList(await ui.info()))
    get('/schedulers', 'Schedules', async () => schedulerList(await ui.info()))
    const upscalers = ['None', 'Lanczos', 'Nearest'].map((name) => ({ name, model_name: null, model_path: null, model_url: null, scale: 4 }))
    get('/upscalers', 'Upscalers of extra-single-image', () => upscalers)
    get('/latent-upscale-modes', 'Upscalers of latents for the second pass', () => latentUpscalers.map((name) => ({ name })))
    get('/loras', 'Adapters that prompts may name: <lora:name:1>', () => lorasOf(ui.loading))
    get('/embeddings', 'Textual inversions that prompts may name', async () => embeddingsOf(ui.loading, await ui.info()))
    get('/sd-vae', 'The autoencoder of the model, if it was loaded with one of its own', () => {
      const vae = vaeOf(ui.loading)
      return vae === undefined ? [] : [{ model_name: vae, filename: vae }]
    })
    // Nothing to do: the folders are read for each list.
    for (const name of ['loras', 'vae']) post(`/refresh-${name}`, 'Read the folder again', () => null)
    for (const name of ['hypernetworks', 'face-restorers', 'prompt-styles', 'extensions']) get(`/${name}`, 'None', () => [])
    get('/scripts', 'None', () => ({ txt2img: [], img2img: [] }))
    get('/cmd-flags', 'None', () => ({}))
    get('/memory', 'Memory of the computer', () => {
      const [free, total] = [freemem(), totalmem()]
      return { ram: { free, used: total - free, total }, cuda: { error: 'not reported' } }
    })
    post('/png-info', 'Read the settings in an image', (request) => readInfotext(bodyOf(request), context))
    post('/extra-single-image', 'Resize an image', (request) => upscale(bodyOf(request), context))
    post('/interrogate', 'Not there', () => {
      throw new HttpError(404, 'ERR_NOT_FOUND', 'This server cannot describe images')
    })
    post('/refresh-checkpoints', 'Scan the folder of models again', async () => models.refresh())
    post('/unload-checkpoint', 'Free the memory of the model', async (request, reply) => {
      refuseElsewhere(context)
      await sides.run(request, reply, () => models.host.unload(ui.checkpoint))
      return {}
    })
    post('/reload-checkpoint', 'Load the model', async (request, reply) => {
      refuseElsewhere(context)
      await sides.run(request, reply, (signal) => models.host.load(ui.checkpoint, { signal }))
      return {}
    })
  }
}
