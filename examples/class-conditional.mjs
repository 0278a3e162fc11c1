// node examples/class-conditional.mjs models/systems/class.gguf "yellow star" out.png
// node examples/class-conditional.mjs cin256-v2.ckpt "golden retriever" out.png
// Images of a class, such as an ImageNet class, with increasing guidance.
import { DiffusionPipeline } from 'node-latent-diffusion'

const [model = 'models/systems/class.gguf', name = 'yellow star', output = 'out.png'] = process.argv.slice(2)
const pipe = await DiffusionPipeline.load(model, { kind: 'class' })
const { classes, nullClass } = pipe.info.condition
console.log(`${classes} classes${nullClass === undefined ? '' : `; ${nullClass} is the null class`}`)
for (const guidanceScale of pipe.info.condition.guidance ? [1, 3, 5] : [1]) {
  const { images, options } = await pipe.generate({ classId: /^\d+$/.test(name) ? Number(name) : name, guidanceScale, seed: 42 })
  const file = output.replace(/(\.\w+)$/, `-${guidanceScale}$1`)
  await images[0].save(file)
  console.log(`${file}: class ${options.classId}, ${pipe.info.classes[options.classId] ?? 'without a name'}`)
}
await pipe.dispose()
