/**
 * The pages of the site from files of the repository: docs/, README.md as the home page, and every file or folder that a page links to. Links stay as they are on
 * a forge; docs/.vitepress/links.mjs turns them into links of the site with the table written here.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../build-native.mjs'

/** Languages of fences by the end of a file's name. */
const languages = { mjs: 'js', cjs: 'js', js: 'js', ts: 'ts', json: 'json', jsonl: 'json', yml: 'yaml', sh: 'sh', html: 'html', css: 'css', py: 'py' }
const pictures = /\.(png|webp|jpg|svg)$/

/** The page of a file or folder of the repository (a path with slashes). */
function pageOf(file) {
  if (file === 'README.md') return 'index.md'
  if (file === 'types/index.d.ts') return 'api/index.md'
  if (/^(CHANGELOG|CONTRIBUTING)\.md$/.test(file)) return file.toLowerCase()
  if (file.startsWith('docs/')) return file.slice('docs/'.length)
  // VitePress skips names that begin with a dot.
  const page = file.replace(/(^|\/)README\.md$/, '$1index.md').replace(/(^|\/)\./g, '$1')
  return `files/${page.endsWith('.md') ? page : `${page}.md`}`
}

/** Links and images of a page that lead to files of the repository, relative to its root. */
function linksOf(file, text) {
  const prose = text.replace(/^(```|~~~)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)|<img src="([^"]+)"/g)]
    .map(([, link, picture]) => (link ?? picture).split('#')[0])
    .filter((target) => target !== '' && !/^[a-z]+:/.test(target))
    .map((target) => path.posix.join(path.posix.dirname(file), target).replace(/\/$/, ''))
}

/** The home page: the README under a title with links. */
function homePage(text) {
  const [, lead, rest] = /^# [^\n]+\n\n([^\n]+)\n([\s\S]*)$/.exec(text)
  const front = {
    layout: 'home',
    hero: {
      name: 'node-latent-diffusion',
      tagline: lead.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1'),
      actions: [
        { theme: 'brand', text: 'First image', link: '/guides/text-to-image' },
        { theme: 'alt', text: 'Installing', link: '/install' },
        { theme: 'alt', text: 'API', link: '/api/' },
      ],
    },
  }
  // JSON is YAML.
  return `---\n${JSON.stringify(front, null, 2)}\n---\n${rest}`
}

function folderPage(file) {
  const names = readdirSync(path.join(root, file)).sort()
  return `# ${file}\n\nFiles in this folder of the repository:\n\n${names.map((name) => `- \`${name}\``).join('\n')}\n`
}

function sourcePage(file, text) {
  const language = languages[path.extname(file).slice(1)] ?? 'text'
  const fence = '`'.repeat(Math.max(3, ...[...text.matchAll(/`{3,}/g)].map(([run]) => run.length + 1)))
  return `# ${path.basename(file)}\n\n\`${file}\`\n\n${fence}${language}\n${text.trimEnd()}\n${fence}\n`
}

/** Writes all pages to `folder`, and pages.json beside it: { page: file of the repository }. */
export function stagePages(folder) {
  const docs = readdirSync(path.join(root, 'docs'), { recursive: true })
    .map((name) => `docs/${name.replaceAll(path.sep, '/')}`)
    .filter((name) => name.endsWith('.md') && !name.includes('/.vitepress/'))
  const waiting = ['README.md', ...docs]
  const written = {}
  while (waiting.length > 0) {
    let file = waiting.pop()
    const source = path.join(root, file)
    if (!existsSync(source)) continue // VitePress reports the link
    const isFolder = statSync(source).isDirectory()
    if (isFolder && existsSync(path.join(source, 'README.md'))) file += '/README.md'
    const page = pictures.test(file) ? file.replace(/^docs\//, '') : pageOf(file)
    if (page in written) continue
    written[page] = file
    const to = path.join(folder, page)
    mkdirSync(path.dirname(to), { recursive: true })
    if (pictures.test(file)) {
      cpSync(source, to)
      continue
    }
    if (page === 'api/index.md') continue // TypeDoc writes it
    if (file.endsWith('.md')) {
      const text = readFileSync(path.join(root, file), 'utf8')
      waiting.push(...linksOf(file, text))
      writeFileSync(to, page === 'index.md' ? homePage(text) : text)
    } else writeFileSync(to, isFolder ? folderPage(file) : sourcePage(file, readFileSync(source, 'utf8')))
  }
  writeFileSync(path.join(folder, '..', 'pages.json'), JSON.stringify(written, null, 2))
}
