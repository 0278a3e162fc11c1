/**
 * Atomic writes: a file is written under a short hidden name in the same folder, then renamed. Symbolic links are followed: the target is replaced, not the
 * link.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readlink, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError } from '../errors.js'

const maxLinks = 40

/** The end of a chain of symbolic links, whether or not a file exists there. */
async function followLinks(file: string): Promise<string> {
  let at = path.resolve(file)
  for (let hops = 0; hops < maxLinks; hops++) {
    const next = await readlink(at).catch((error: NodeJS.ErrnoException) => {
      // EINVAL: not a link. Other errors will show when the file is opened.
      if (error.code === 'ELOOP') throw error
      return undefined
    })
    if (next === undefined) return at
    at = path.resolve(path.dirname(at), next)
  }
  throw Object.assign(new Error('its symbolic links form a loop'), { code: 'ELOOP', syscall: 'readlink' })
}

/** A short name in the folder of `file`, so that any name that the system accepts for `file` works. */
function temporaryBeside(file: string): string {
  return path.join(path.dirname(file), `.latent-${process.pid}-${randomBytes(4).toString('hex')}.tmp`)
}

function failure(what: string, file: string, cause: unknown): DiffusionError {
  return new DiffusionError(
    'ERR_IO',
    `${what === '' ? '' : `${what} `}${file} cannot be written: ${(cause as Error).message}`,
    { path: file },
    { cause },
  )
}

/** Rejects folders, devices and pipes (which a rename would replace), missing folders, and names that the system does not accept. */
async function checkPlace(file: string): Promise<void> {
  const folder = await stat(path.dirname(file)).catch(() => undefined)
  if (!folder?.isDirectory()) throw Object.assign(new Error('its folder does not exist'), { code: 'ENOENT', syscall: 'open' })
  const status = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (status?.isDirectory()) throw Object.assign(new Error('it is a folder'), { code: 'EISDIR', syscall: 'open' })
  if (status && !status.isFile()) throw Object.assign(new Error('it is not a regular file'), { code: 'EINVAL', syscall: 'open' })
}

async function removeQuietly(file: string): Promise<void> {
  // The original error matters more than a failed clean-up.
  await rm(file, { force: true }).catch(() => undefined)
}

/**
 * Writes a file: `write` fills it, then it is renamed. `what` names it in messages, '' for only the path.
 * @throws DiffusionError `ERR_IO` with the system's reason
 */
export async function writeWhole(file: string, what: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  let temporary: string | undefined
  try {
    const target = await followLinks(file)
    await checkPlace(target)
    temporary = temporaryBeside(target)
    const handle = await open(temporary, 'wx')
    try {
      await write(handle)
    } finally {
      await handle.close()
    }
    await rename(temporary, target)
  } catch (cause) {
    if (temporary !== undefined) await removeQuietly(temporary)
    throw failure(what, file, cause)
  }
}

/**
 * Checks whether {@link writeWhole} could write `file`, without side effects: its folder exists and is writable, it is not a folder, its name is not too long.
 * @throws DiffusionError `ERR_IO` with the system's reason
 */
export async function checkWritable(file: string): Promise<void> {
  let temporary: string | undefined
  try {
    const target = await followLinks(file)
    await checkPlace(target)
    temporary = temporaryBeside(target)
    await (await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL)).close()
  } catch (cause) {
    throw failure('', file, cause)
  } finally {
    if (temporary !== undefined) await removeQuietly(temporary)
  }
}
