/** What VitePress does not check in a built site: anchors, files behind links, and that pages load nothing from other hosts. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'

const unescape = (text) => text.replaceAll('&amp;', '&').replaceAll('&#39;', "'").replaceAll('&quot;', '"')

/** Throws a list of all problems; returns { pages, links }, their numbers. `base`: the path under which the site will be served. */
export function checkSite(folder, base = '/') {
  const files = readdirSync(folder, { recursive: true }).map((name) => name.replaceAll(path.sep, '/'))
  const pages = files.filter((name) => name.endsWith('.html') && name !== '404.html')
  const html = new Map(pages.map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]))
  const ids = new Map([...html].map(([name, text]) => [name, new Set([...text.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => unescape(id)))]))
  const problems = []
  let links = 0
  for (const [page, text] of html) {
    for (const [, tag, attributes] of text.matchAll(/<(a|link|script|img|source|iframe|video|audio)\s([^>]*)>/g)) {
      const target = /(?:^|\s)(?:href|src)="([^"]*)"/.exec(attributes)?.[1]
      if (target === undefined || target.startsWith('data:')) continue
      if (/^(https?:)?\/\//.test(target)) {
        if (tag !== 'a') problems.push(`${page}: <${tag}> loads ${target}`)
        continue
      }
      if (/^[a-z]+:/.test(target)) continue
      links++
      const { pathname, hash } = new URL(unescape(target), `http://site${base}${page}`)
      if (!pathname.startsWith(base)) {
        problems.push(`${page}: ${target} is not below ${base}`)
        continue
      }
      let place = decodeURIComponent(pathname.slice(base.length))
      if (place === '' || place.endsWith('/')) place += 'index.html'
      if (!existsSync(path.join(folder, place)) || statSync(path.join(folder, place)).isDirectory()) problems.push(`${page}: no ${place} (${target})`)
      else if (hash.length > 1 && ids.has(place) && !ids.get(place).has(decodeURIComponent(hash.slice(1))))
        problems.push(`${page}: ${place} has no heading ${hash}`)
    }
  }
  for (const name of files.filter((file) => file.endsWith('.css'))) {
    for (const [, target] of readFileSync(path.join(folder, name), 'utf8').matchAll(/(?:url\(|@import\s+)["']?((?:https?:)?\/\/[^"')\s]+)/g))
      problems.push(`${name}: loads ${target}`)
  }
  if (problems.length > 0) throw new Error([...new Set(problems)].join('\n'))
  return { pages: pages.length, links }
}
