#!/usr/bin/env node
/**
 * Builds the documentation site, build-docs/site: the pages of docs/ with VitePress, and the API reference with TypeDoc from types/. Dead links, links to missing
 * headings and requests to other hosts are errors.
 *
 *   node scripts/docs.mjs [--serve]
 *
 * DOCS_BASE is the path under which the site will be served, with slashes at both ends (default /).
 * --serve then serves the site on loopback. The declarations of server and worker come from `npm run build:ts`.
 */
import { rmSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { build, serve } from 'vitepress'
import { main, root } from './build-native.mjs'
import { writeReference } from './docs/api.mjs'
import { checkSite } from './docs/check.mjs'
import { stagePages } from './docs/pages.mjs'

await main(async () => {
  const { values } = parseArgs({ options: { serve: { type: 'boolean' } } })
  const out = path.join(root, 'build-docs')
  rmSync(out, { recursive: true, force: true })
  stagePages(path.join(out, 'pages'))
  await writeReference(path.join(out, 'types'), path.join(out, 'pages', 'api'))
  await build(path.join(root, 'docs'))
  const { pages, links } = checkSite(path.join(out, 'site'), process.env.DOCS_BASE)
  console.log(`build-docs/site: ${pages} pages, ${links} links`)
  if (values.serve) await serve({ root: path.join(root, 'docs'), port: 4173 })
})
