/** The guides: one for every task, each with a figure and in every list; drawings show what they are made from. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import figures from '../../scripts/diagrams/figures.cjs'

const root = path.resolve(__dirname, '..', '..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

/** By task: the page, and a word of a call that it shows. */
const tasks: Record<string, [page: string, call: string]> = {
  text: ['guides/text-to-image', 'prompt:'],
  class: ['guides/class', 'classId:'],
  layout: ['guides/layout', 'boxes:'],
  semantic: ['guides/semantic-map', 'semanticMap'],
  'super-resolution': ['guides/super-resolution', 'pipe.upscale('],
  upscaling: ['guides/sizes', 'hires:'],
  inpainting: ['guides/inpainting', 'mask:'],
  outpainting: ['guides/outpainting', 'extend('],
  unconditional: ['guides/unconditional', "kind: 'unconditional'"],
  retrieval: ['guides/retrieval', 'neighbours:'],
  'image to image': ['guides/image-to-image', 'strength'],
  variations: ['guides/variations', 'variationStrength'],
  editing: ['guides/edit', "kind: 'edit'"],
  depth: ['guides/depth', 'depthMap:'],
  LoRA: ['adapters', 'setLoras('],
  embeddings: ['guides/embeddings', 'embeddings:'],
  'few steps': ['guides/few-steps', 'preset:'],
  SDXL: ['guides/sdxl', 'sizes'],
  'tiny autoencoders': ['guides/tiny-autoencoders', 'vae:'],
  'prediction types': ['guides/prediction', 'spec: { prediction'],
  previews: ['guides/previews', 'preview'],
  memory: ['guides/memory', 'estimateMemory('],
  speed: ['guides/speed', 'deepCache'],
  servers: ['guides/servers', 'createDiffusionHost('],
  deployment: ['guides/deployment', 'latent serve'],
}
const pages = Object.entries(tasks).map(([task, [page, call]]) => [task, page, call] as const)

test('every guide is the page of a task', () => {
  const files = readdirSync(path.join(root, 'docs', 'guides')).map((name) => `guides/${name.replace(/\.md$/, '')}`)
  expect(files.filter((page) => !pages.some(([, own]) => own === page))).toEqual([])
})

describe.each(pages)('%s', (_task, page, call) => {
  const text = read(`docs/${page}.md`)
  test('shows a call', () => expect(text.match(/^```[\s\S]*?^```/gm)!.join('\n')).toContain(call))

  test('has a figure that exists', () => {
    const shown = [...text.matchAll(/^!\[(.+)\]\((.+)\)$/gm)]
    expect(shown.length).toBeGreaterThan(0)
    for (const [, words, file] of shown) {
      expect(words!.length).toBeGreaterThan(10)
      expect(existsSync(path.join(root, 'docs', path.dirname(page), file!))).toBe(true)
    }
  })

  test('is in the sidebar and in the README', () => {
    expect(read('docs/.vitepress/config.mjs')).toContain(`, '${page}']`)
    expect(read('README.md')).toContain(`](docs/${page}.md)`)
  })
})

test.each(Object.keys(figures))('%s is what scripts/diagrams.mjs draws now', (name) => {
  expect(read(`docs/images/${name}`)).toBe(String(figures[name]!()))
})
