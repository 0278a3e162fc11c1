/** A markdown-it plugin: turns links between files of the repository into links between pages of the site. */
import path from 'node:path'

/** `pages`: { page: file of the repository }, written by scripts/docs/pages.mjs. */
export function repositoryLinks(markdown, pages) {
  const byFile = new Map(Object.entries(pages).map(([page, file]) => [file, page]))
  const readme = (file) => (file === '' ? 'README.md' : `${file}/README.md`)

  function translate(target, page) {
    const [, link, hash] = /^([^#]*)(.*)$/s.exec(target)
    if (link === '' || /^([a-z]+:|\/)/.test(link)) return target
    const file = path.posix.join(path.posix.dirname(pages[page]), decodeURI(link)).replace(/\/$/, '')
    const to = byFile.get(file) ?? byFile.get(readme(file))
    if (to === undefined) return target // a dead link, which VitePress reports
    const relative = path.posix.relative(path.posix.dirname(page), to)
    return `${relative.startsWith('.') ? relative : `./${relative}`}${hash}`
  }

  markdown.core.ruler.push('repository-links', ({ tokens, env }) => {
    const page = env.relativePath
    if (pages[page] === undefined) return
    for (const { children } of tokens) {
      for (const token of children ?? []) {
        const name = { link_open: 'href', image: 'src' }[token.type]
        if (name) token.attrSet(name, translate(token.attrGet(name), page))
      }
    }
  })
}
