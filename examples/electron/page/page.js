/** The page: requests images, shows previews and the result. Bundled into out/page/page.js. */
import { connectDiffusion } from 'node-latent-diffusion/electron/renderer'

const [form, prompt, steps, draw, cancel, progress, status, canvas, save] = [
  'form',
  'prompt',
  'steps',
  'draw',
  'cancel',
  'progress',
  'status',
  'canvas',
  'save',
].map((id) => document.getElementById(id))

function show(bitmap) {
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  canvas.getContext('2d').drawImage(bitmap, 0, 0)
  bitmap.close()
}

function offer(blob) {
  URL.revokeObjectURL(save.href)
  save.href = URL.createObjectURL(blob)
  save.hidden = false
}

async function generate(diffusion, signal) {
  const job = diffusion.generate({ prompt: prompt.value, steps: steps.valueAsNumber, preview: { every: 2 }, signal })
  for await (const event of job) {
    if (event.type === 'queued') status.textContent = 'Waiting…'
    if (event.type === 'progress') {
      status.textContent = `${event.phase} ${event.step} of ${event.steps}`
      progress.max = event.steps
      progress.value = event.step
    }
    if (event.type === 'preview') show(event.bitmap)
  }
  const { images, seed } = await job
  show(await images[0].bitmap())
  offer(images[0].blob)
  status.textContent = `Done, seed ${seed}`
}

const diffusion = await connectDiffusion()
let controller
form.addEventListener('submit', (event) => {
  event.preventDefault()
  controller = new AbortController()
  draw.disabled = true
  cancel.disabled = false
  generate(diffusion, controller.signal)
    .catch((error) => (status.textContent = error.message))
    .finally(() => {
      draw.disabled = false
      cancel.disabled = true
    })
})
cancel.addEventListener('click', () => controller.abort(new Error('Cancelled')))
status.textContent = 'Ready'
draw.disabled = false
