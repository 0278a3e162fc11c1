#!/usr/bin/env node
/** `npm create node-latent-diffusion`: writes a new project from a template. Existing files are never changed. */
import { constants, existsSync, realpathSync } from 'node:fs'
import { chmod, copyFile, cp, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = path.dirname(fileURLToPath(import.meta.url))

/** Templates by name: what they are, and how a project of them is started. */
export const templates = {
  script: { title: 'a script that draws an image', start: 'start' },
  express: { title: 'an Express server', start: 'start' },
  next: { title: 'a Next.js application with a route handler', start: 'dev' },
  electron: { title: 'an Electron application', start: 'start' },
}

/** Wrong arguments (exit code 2) or a place that cannot be used (1); the message says what to do. */
export class CreateError extends Error {
  /** @param {string} message @param {'ERR_USAGE' | 'ERR_FOLDER' | 'ERR_TEMPLATE' | 'ERR_IO'} code */
  constructor(message, code, options) {
    super(message, options)
    this.name = 'CreateError'
    this.code = code
  }
}

const names = Object.keys(templates).join(', ')

const help = `npm create node-latent-diffusion [FOLDER] [-- --template NAME]

Writes a new project into FOLDER, which must not exist or be empty. Without arguments, asks.

  -t, --template NAME  ${Object.entries(templates)
    .map(([name, { title }]) => `${name}: ${title}`)
    .join('\n                       ')}
  -h, --help           show this
  -v, --version        show the version
`

/** The folder of a template: in the published package beside this file, in a clone the example of that name. */
function templateFolder(name) {
  const places = [path.join(here, 'templates', name), path.join(here, '..', '..', 'examples', name)]
  const found = places.find((place) => existsSync(path.join(place, 'package.json')))
  if (found === undefined) throw new CreateError(`The template ${name} is missing in ${here}; install the package again`, 'ERR_TEMPLATE')
  return found
}

/** The version of this package, which is that of the library; in a clone, the one at its root. */
async function versionHere() {
  for (const place of [here, path.join(here, '..', '..')]) {
    const { version } = JSON.parse(await readFile(path.join(place, 'package.json'), 'utf8'))
    if (version !== undefined) return version
  }
  throw new CreateError('package.json has no version; install the package again', 'ERR_TEMPLATE')
}

/** A name that npm accepts, from that of a folder. */
export function packageName(folder) {
  const name = path
    .basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9._~-]+/g, '-')
    .replace(/^[^a-z0-9]+|-+$/g, '')
    .slice(0, 200)
  return name === '' || name === 'node_modules' || name === 'favicon.ico' ? 'latent-project' : name
}

/** Files that do not count: version control and what systems leave in folders. */
const harmless = new Set(['.git', '.hg', '.svn', '.DS_Store', 'Thumbs.db', 'desktop.ini'])

/** Throws if the folder cannot take a project; tells whether it exists. */
async function checkFolder(folder) {
  let found
  try {
    found = await stat(folder)
  } catch (error) {
    if (error.code === 'ENOTDIR') throw new CreateError(`${folder} lies below something that is not a folder`, 'ERR_FOLDER', { cause: error })
    if (error.code !== 'ENOENT') throw new CreateError(`${folder} cannot be used: ${error.message}`, 'ERR_FOLDER', { cause: error })
    if (
      await lstat(folder).then(
        () => true,
        () => false,
      )
    )
      throw new CreateError(`${folder} is a link to something that does not exist`, 'ERR_FOLDER')
    return false
  }
  if (!found.isDirectory()) throw new CreateError(`${folder} exists and is not a folder; choose another name`, 'ERR_FOLDER')
  const present = (await readdir(folder)).filter((name) => !harmless.has(name))
  if (present.length > 0) {
    const some = present.slice(0, 3).join(', ') + (present.length > 3 ? ' ...' : '')
    throw new CreateError(`${folder} is not empty (${some}); choose another name, or empty it`, 'ERR_FOLDER')
  }
  return true
}

/** Writes the files of a project into an empty folder. */
async function writeProject(from, to, name, version) {
  // Installed packages and built files of an example are not part of the template.
  const isSource = (file) => !/^(node_modules|out|dist|\.next|package-lock\.json)$/.test(path.basename(file)) || file === from
  await cp(from, to, { recursive: true, filter: isSource, errorOnExist: true, force: false })
  const manifest = JSON.parse(await readFile(path.join(to, 'package.json'), 'utf8'))
  const dependencies = { ...manifest.dependencies, 'node-latent-diffusion': `^${version}` }
  await writeFile(path.join(to, 'package.json'), `${JSON.stringify({ ...manifest, name, version: '0.0.0', dependencies }, null, 2)}\n`)
  await writeFile(path.join(to, '.gitignore'), 'node_modules/\nout/\ndist/\n.next/\n*.png\n', { flag: 'wx' })
  // Links to the documentation of the repository lead nowhere from here.
  const readme = path.join(to, 'README.md')
  const text = await readFile(readme, 'utf8')
  await writeFile(readme, text.replace(/\[([^\]]+)\]\(\.\.\/\.\.\/[^)]*\)/g, '$1'))
}

/**
 * Writes a project. If it fails, nothing is left behind.
 * @param {string} folder A folder that does not exist or is empty.
 * @param {string} template A name of {@link templates}.
 * @returns {Promise<{ folder: string, name: string, template: string, files: string[] }>}
 * @throws {CreateError} for an unknown template, a folder that is in use, or a disk that cannot be written
 */
export async function createProject(folder, template) {
  if (!Object.hasOwn(templates, template)) throw new CreateError(`There is no template ${JSON.stringify(template)}; there are ${names}`, 'ERR_USAGE')
  if (typeof folder !== 'string' || folder.trim() === '' || folder.includes('\0')) throw new CreateError('The folder needs a name', 'ERR_USAGE')
  const from = templateFolder(template)
  const version = await versionHere()
  const place = path.resolve(folder)
  const exists = await checkFolder(place)
  const name = packageName(place)
  let staged, made
  try {
    made = await mkdir(path.dirname(place), { recursive: true })
    staged = await mkdtemp(path.join(exists ? place : path.dirname(place), '.creating-'))
    await writeProject(from, staged, name, version)
    const files = await readdir(staged)
    if (!exists) await chmod(staged, 0o777 & ~process.umask()) // mkdtemp made it for this user alone
    // A rename onto a folder that has appeared meanwhile succeeds only if that is empty.
    if (!exists) await rename(staged, place)
    else {
      await copyInto(staged, files, place)
      await rm(staged, { recursive: true })
    }
    return { folder: place, name, template, files: files.sort() }
  } catch (error) {
    if (staged !== undefined) await rm(staged, { recursive: true, force: true })
    if (made !== undefined) await removeEmpty(path.dirname(place), made)
    if (error instanceof CreateError) throw error
    throw new CreateError(`The project could not be written to ${place}: ${error.message}`, 'ERR_IO', { cause: error })
  }
}

/** Copies files into a folder that has none of their names; on failure, removes those that were copied. */
async function copyInto(staged, files, place) {
  const created = []
  try {
    for (const file of files) {
      const [from, to] = [path.join(staged, file), path.join(place, file)]
      // Both fail if the name exists.
      if ((await stat(from)).isDirectory()) await mkdir(to)
      else await copyFile(from, to, constants.COPYFILE_EXCL)
      created.push(to)
      if ((await stat(from)).isDirectory()) await cp(from, to, { recursive: true, errorOnExist: true, force: false })
    }
  } catch (error) {
    for (const file of created) await rm(file, { recursive: true, force: true })
    throw error
  }
}

/** Removes empty folders from `folder` up to `last`. */
async function removeEmpty(folder, last) {
  try {
    for (let place = folder; place.startsWith(last); place = path.dirname(place)) await rmdir(place)
  } catch {
    // Something is in it.
  }
}

/** The package manager that runs this, by the name it gives itself. */
function manager() {
  const name = /^(\w+)\//.exec(process.env.npm_config_user_agent ?? '')?.[1]
  return ['pnpm', 'yarn', 'bun'].includes(name) ? name : 'npm'
}

async function ask(io, given) {
  const lines = createInterface({ input: io.stdin, output: io.stdout })
  const closed = new AbortController()
  lines.once('close', () => closed.abort(new CreateError('Nothing was created', 'ERR_USAGE')))
  const question = async (text, usual) => {
    try {
      return (await lines.question(`${text} (${usual}): `, { signal: closed.signal })).trim() || usual
    } catch (error) {
      throw closed.signal.aborted ? closed.signal.reason : error
    }
  }
  try {
    const folder = given.folder ?? (await question('Folder', 'latent-project'))
    const template = given.template ?? (await question(`Template: ${names}`, 'script'))
    return { folder, template }
  } finally {
    lines.close()
  }
}

/** Runs the command line; returns the exit code. */
export async function main(argv, io = process) {
  try {
    let parsed
    const options = {
      template: { type: 'string', short: 't' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    }
    try {
      parsed = parseArgs({ args: argv, options, allowPositionals: true })
    } catch (error) {
      throw new CreateError(`${error.message}. See --help`, 'ERR_USAGE', { cause: error })
    }
    const { values, positionals } = parsed
    if (values.help) return (io.stdout.write(help), 0)
    if (values.version) return (io.stdout.write(`${await versionHere()}\n`), 0)
    if (positionals.length > 1) throw new CreateError(`One folder at a time, not ${positionals.length}: ${positionals.join(', ')}`, 'ERR_USAGE')
    if (values.template !== undefined && !Object.hasOwn(templates, values.template))
      throw new CreateError(`There is no template ${JSON.stringify(values.template)}; there are ${names}`, 'ERR_USAGE')
    const given = { folder: positionals[0], template: values.template }
    const isComplete = given.folder !== undefined && given.template !== undefined
    if (!isComplete && !io.stdin.isTTY) {
      const missing = given.folder === undefined ? 'a folder' : 'a template'
      throw new CreateError(`Name ${missing}: npm create node-latent-diffusion FOLDER -- --template ${names.replaceAll(', ', '|')}`, 'ERR_USAGE')
    }
    const wanted = isComplete ? given : await ask(io, given)
    const { folder, template } = await createProject(wanted.folder, wanted.template)
    const run = manager()
    const shown = path.relative(process.cwd(), folder) || '.'
    const steps = [
      ...(shown === '.' ? [] : [`cd ${/[^\w./\\-]/.test(shown) ? JSON.stringify(shown) : shown}`]),
      `${run} install`,
      `${run} run ${templates[template].start}`,
    ]
    io.stdout.write(`${folder}: ${templates[template].title}\n\n${steps.map((step) => `  ${step}\n`).join('')}`)
    return 0
  } catch (error) {
    if (!(error instanceof CreateError)) throw error
    io.stderr.write(`create-node-latent-diffusion: ${error.message}\n`)
    return error.code === 'ERR_USAGE' ? 2 : 1
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
