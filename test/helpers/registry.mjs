/**
 * A package registry on loopback, as a program: serves the tarballs in a folder and takes what is published into it.
 *
 *   node test/helpers/registry.mjs FOLDER
 *
 * Prints its URL. Ends when its standard input does.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'

const [folder] = process.argv.slice(2)

/** The package.json inside a tarball. */
function manifestOf(bytes) {
  const tar = gunzipSync(bytes)
  for (let at = 0; at + 512 <= tar.length;) {
    const field = (from, to) => tar.toString('latin1', at + from, at + to).split('\0')[0]
    const size = parseInt(field(124, 136), 8) || 0
    if (/^[^/]+\/package\.json$/.test(field(0, 100))) return JSON.parse(tar.toString('utf8', at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  throw new Error('no package.json')
}

const readTarballs = new Map()

/** The manifest in a tarball and what tells it from others; read again when the file has changed. */
function readTarball(file) {
  const { mtimeMs, size } = statSync(path.join(folder, file))
  const seen = readTarballs.get(file)
  if (seen?.mtimeMs === mtimeMs && seen.size === size) return seen
  const bytes = readFileSync(path.join(folder, file))
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
  const read = { mtimeMs, size, manifest: manifestOf(bytes), integrity, shasum: createHash('sha1').update(bytes).digest('hex') }
  readTarballs.set(file, read)
  return read
}

/** name -> { versions, tags } of what lies in the folder, looked up for each request: tests add to it. */
function packages(base) {
  const found = new Map()
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.tgz'))) {
    const { manifest, integrity, shasum } = readTarball(file)
    const dist = { tarball: `${base}/-/${file}`, integrity, shasum }
    // As registries do: what a package manager takes for an install script is told beside the manifest.
    const hasInstallScript = ['preinstall', 'install', 'postinstall'].some((name) => manifest.scripts?.[name])
    const entry = found.get(manifest.name) ?? { name: manifest.name, 'dist-tags': {}, versions: {}, time: {} }
    entry.versions[manifest.version] = {
      ...manifest,
      _id: `${manifest.name}@${manifest.version}`,
      dist,
      ...(hasInstallScript ? { hasInstallScript } : {}),
    }
    entry['dist-tags'].latest = manifest.version
    // Old enough for package managers that wait some days before they trust a version.
    entry.time[manifest.version] = '2020-01-01T00:00:00.000Z'
    found.set(manifest.name, entry)
  }
  return found
}

function publish(name, body, respond, base) {
  const document = JSON.parse(body)
  const [version] = Object.keys(document.versions)
  if (packages(base).get(name)?.versions[version])
    return respond(403, { error: `You cannot publish over the previously published versions: ${version}.` })
  const [attachment] = Object.values(document._attachments)
  writeFileSync(path.join(folder, `${name.replace('/', '+')}-${version}.tgz`), Buffer.from(attachment.data, 'base64'))
  return respond(201, { ok: true })
}

const server = createServer((request, response) => {
  const base = `http://127.0.0.1:${server.address().port}`
  const respond = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(value))
  }
  const url = decodeURIComponent(new URL(request.url, base).pathname).slice(1)
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    try {
      if (request.method === 'PUT') return publish(url, Buffer.concat(chunks).toString('utf8'), respond, base)
      if (url.startsWith('-/') && url.endsWith('.tgz')) {
        response.writeHead(200, { 'content-type': 'application/octet-stream' })
        return response.end(readFileSync(path.join(folder, path.basename(url))))
      }
      const known = packages(base)
      const [, name, version] = /^((?:@[^/]+\/)?[^/]+)(?:\/([^/]+))?$/.exec(url) ?? []
      const entry = known.get(name)
      if (entry && version) return respond(entry.versions[version] ? 200 : 404, entry.versions[version] ?? {})
      if (entry) return respond(200, entry)
      return respond(404, { error: `${url} is not here` })
    } catch (error) {
      return respond(500, { error: String(error) })
    }
  })
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`))
process.stdin.resume().on('end', () => process.exit(0))
