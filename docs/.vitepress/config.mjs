/** The documentation site. `npm run docs` puts the pages into build-docs/ and builds it (scripts/docs.mjs). */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'
import { repositoryLinks } from './links.mjs'

const built = (name) => fileURLToPath(new URL(`../../build-docs/${name}`, import.meta.url))
const read = (name) => JSON.parse(readFileSync(built(name), 'utf8'))
const pages = read('pages.json')
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

const group = (text, ...items) => ({ text, items: items.map(([title, link]) => ({ text: title, link: `/${link}` })) })

const guides = [
  group('Start', ['Installing', 'install'], ['Command line', 'cli'], ['Examples', 'files/examples/'], ['Troubleshooting', 'troubleshooting']),
  group(
    'Guides',
    ['Text to image', 'guides/text-to-image'],
    ['Image to image', 'guides/image-to-image'],
    ['Variations', 'guides/variations'],
    ['Inpainting', 'guides/inpainting'],
    ['Outpainting', 'guides/outpainting'],
    ['Editing with a prompt', 'guides/edit'],
    ['Depth maps', 'guides/depth'],
    ['Without a prompt', 'guides/unconditional'],
    ['Classes', 'guides/class'],
    ['Boxes', 'guides/layout'],
    ['Label maps', 'guides/semantic-map'],
    ['Super-resolution', 'guides/super-resolution'],
    ['Retrieval', 'guides/retrieval'],
    ['Sizes beyond training', 'guides/sizes'],
    ['LoRA and other adapters', 'adapters'],
    ['Words of your own', 'guides/embeddings'],
    ['SDXL', 'guides/sdxl'],
    ['Few-step models', 'guides/few-steps'],
    ['Tiny autoencoders', 'guides/tiny-autoencoders'],
    ['Prediction types', 'guides/prediction'],
    ['Progress, previews, cancelling', 'guides/previews'],
    ['Small machines', 'guides/memory'],
    ['Faster images', 'guides/speed'],
    ['In your own server', 'guides/servers'],
    ['Deployment', 'guides/deployment'],
  ),
  group('Migration', ['From diffusers', 'migration/diffusers'], ['From A1111', 'migration/a1111'], ['From stable-diffusion.cpp', 'migration/sd-cpp']),
  group(
    'Models',
    ['All kinds in one page', 'kinds'],
    ['Downloading', 'downloads'],
    ['Supported models', 'models'],
    ['The embedded model', 'embedded-model'],
    ['Small models', 'systems'],
  ),
  group('Applications', ['Isolation', 'isolation'], ['Electron', 'electron'], ['Server', 'server'], ['Web page', 'page'], ['Scale-out', 'scale-out']),
  group(
    'Speed, memory, quality',
    ['Performance', 'performance'],
    ['GPU performance', 'gpu-performance'],
    ['Memory', 'memory'],
    ['Precision', 'precision'],
    ['Quality', 'quality'],
    ['GPUs', 'gpu'],
    ['latent doctor', 'doctor'],
  ),
  group(
    'Project',
    ['Compatibility', 'compatibility'],
    ['Architecture', 'architecture'],
    ['Contributing', 'contributing'],
    ['Changelog', 'changelog'],
  ),
]

// New pages that nobody has put into a group yet.
const listed = new Set(guides.flatMap(({ items }) => items.map(({ link }) => link)))
const titleOf = (page) => /^# (.+)$/m.exec(readFileSync(built(`pages/${page}`), 'utf8'))?.[1] ?? page
const more = Object.entries(pages)
  .filter(([page, file]) => file.startsWith('docs/') && file.endsWith('.md') && !listed.has(`/${page.replace(/\.md$/, '')}`))
  .map(([page]) => [titleOf(page), page.replace(/\.md$/, '')])
if (more.length > 0) guides.push(group('More', ...more))

export default defineConfig({
  title: 'node-latent-diffusion',
  description: 'Stable Diffusion and other latent diffusion models in Node.js',
  base: process.env.DOCS_BASE ?? '/',
  srcDir: built('pages'),
  outDir: built('site'),
  cacheDir: built('cache'),
  lastUpdated: false,
  markdown: { config: (markdown) => repositoryLinks(markdown, pages) },
  vite: { logLevel: 'warn', build: { chunkSizeWarningLimit: 4096 } },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/guides/text-to-image', activeMatch: '^/(?!api/)' },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
      { text: version, link: '/changelog' },
    ],
    sidebar: { '/': guides, '/api/': read('pages/api/sidebar.json') },
    outline: [2, 3],
    search: { provider: 'local' },
    externalLinkIcon: true,
  },
})
