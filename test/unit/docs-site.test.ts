/** scripts/docs/check.mjs, which judges the built documentation site, on small sites. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spawnSync } from 'node:child_process'

const root = path.resolve(__dirname, '..', '..')
const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-site-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What the check says about a site of these files. */
function check(files: Record<string, string>, base = '/'): string {
  const site = mkdtempSync(path.join(folder, 'site-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(site, name)), { recursive: true })
    writeFileSync(path.join(site, name), text)
  }
  const program = `import { checkSite } from './scripts/docs/check.mjs'
try { console.log(JSON.stringify(checkSite(process.argv[1], process.argv[2]))) } catch (error) { console.log(error.message) }`
  return spawnSync(process.execPath, ['--input-type=module', '-e', program, site, base], { cwd: root, encoding: 'utf8' }).stdout.trim()
}

test('a sound site', () => {
  const files = {
    'index.html': '<a href="./guide/a.html#b&amp;c">a</a><a href="#here">b</a><h1 id="here"></h1><a href="https://example.org/">c</a>',
    'guide/a.html': '<h2 id="b&amp;c"></h2><img src="/images/a.png"><a href="/">d</a>',
    'images/a.png': '',
    'style.css': 'a { background: url(/images/a.png) }',
  }
  expect(JSON.parse(check(files))).toEqual({ pages: 2, links: 4 })
})

test('a site below a path', () => {
  expect(JSON.parse(check({ 'index.html': '<a href="/docs/a.html">a</a>', 'a.html': '<a href="/docs/">b</a>' }, '/docs/'))).toEqual({
    pages: 2,
    links: 2,
  })
  expect(check({ 'index.html': '<a href="/a.html">a</a>', 'a.html': '' }, '/docs/')).toBe('index.html: /a.html is not below /docs/')
})

test.each([
  ['a page that is not there', { 'index.html': '<a href="/none.html">' }, 'index.html: no none.html (/none.html)'],
  ['a folder without a page', { 'index.html': '<a href="/none/">' }, 'index.html: no none/index.html (/none/)'],
  ['a missing image', { 'index.html': '<img alt="a" src="./a.png">' }, 'index.html: no a.png (./a.png)'],
  ['a missing heading', { 'index.html': '<a href="./a.html#b">', 'a.html': '<h1 id="c">' }, 'index.html: a.html has no heading #b'],
  ['a script of another host', { 'index.html': '<script src="https://example.org/a.js"></script>' }, '<script> loads https://example.org/a.js'],
  ['a font of another host', { 'index.html': '<link rel="stylesheet" href="//example.org/a.css">' }, '<link> loads //example.org/a.css'],
  ['an import of another host', { 'a.css': '@import "https://example.org/a.css";' }, 'a.css: loads https://example.org/a.css'],
])('%s is reported', (_title, files, message) => {
  expect(check(files)).toContain(message)
})
