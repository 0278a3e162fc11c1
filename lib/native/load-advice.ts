/** Why no binary could be loaded, and what to do about it. */
import { isInArchive, packageVersion, scope } from './package-root.js'
import { libc, platformPackage } from './platform-package.js'

/** A path that was tried; `error` if a file exists there. */
export interface Attempt {
  path: string
  problem: string
  error?: unknown
}

const codeOf = (error: unknown) => (error as { code?: unknown } | null | undefined)?.code
const messageOf = (error: unknown) => String((error as Error | null | undefined)?.message ?? error)

/** Whether the package itself is missing, not one of its dependencies. */
export function isMissing(error: unknown, name: string): boolean {
  return /MODULE_NOT_FOUND/.test(String(codeOf(error))) || (messageOf(error).includes(name) && /cannot find|not found|could not resolve/i.test(messageOf(error)))
}

/** Restrictions of the runtime: Node with --permission or --no-addons, Deno without its flags. */
function forbidden(error: unknown): string | undefined {
  const code = codeOf(error)
  if (code === 'ERR_DLOPEN_DISABLED') {
    return 'Native addons are not allowed in this process: start Node.js with --allow-addons in addition to --permission, and without --no-addons.'
  }
  if (code === 'ERR_ACCESS_DENIED') return 'This process may not read the binary: start Node.js with --allow-fs-read for the folder node_modules, and with --allow-addons.'
  const asked = /Requires (\w+) access/.exec(messageOf(error))
  return asked ? `This process may not load native libraries: start Deno with --allow-${asked[1]!.toLowerCase()} (in all: --allow-read --allow-env --allow-sys --allow-ffi).` : undefined
}

/** Interprets the system loader's message for an incompatible binary. */
function unfit(error: unknown): string | undefined {
  const text = messageOf(error)
  const version = /version [`'](GLIBC(?:XX)?_[\d.]+)' not found/.exec(text)
  if (version) return `The binary needs ${version[1]}, but this system's C library is older. Update the system, or compile the binary (see below).`
  if (/wrong ELF class|invalid ELF header|mach-o.*incompatible|not a valid Win32|slice is not valid|ERR_DLOPEN_FAILED.*architecture/i.test(text)) {
    return `The binary is for another system, or is damaged: reinstall on this machine, without a node_modules folder from another one.`
  }
  return undefined
}

function missingPackage(name: string, version: string): string {
  const system = libc()
  const target = `--os=${process.platform} --cpu=${process.arch}${system ? ` --libc=${system}` : ''}`
  return (
    `The package ${name} with the binary for this system is not installed. It is an optional dependency, which is missing after an install with --omit=optional ` +
    `or with a lock file or node_modules from another system. Install it with\n` +
    `  npm install --save-optional ${name}@${version}\n` +
    `or, to prepare node_modules for this system on another one,\n` +
    `  npm install ${target}`
  )
}

const archiveRule =
  'The package is inside an asar archive, from which native files cannot be loaded. Unpack the packages of its scope: ' +
  `"asarUnpack": ["**/node_modules/${scope}/**"] with electron-builder, asar: { unpackDir: "**/node_modules/${scope}" } with electron-forge.`

const compile = (version: string) =>
  `To compile one (CMake and a C++17 compiler): npm install ${scope}/source@${version} && npx latent build. To use another binary, set NODE_LATENT_DIFFUSION_BINARY.`

/** Advice, the most likely cause first. `supported`: there is a package for this system. */
export function adviceFor(tried: readonly Attempt[], supported: boolean): string {
  const refused = tried.map(({ error }) => (error === undefined ? undefined : forbidden(error))).find((text) => text !== undefined)
  if (refused) return refused
  const version = packageVersion()
  const name = platformPackage()
  const last = tried.at(-1)
  const lines = tried.map(({ error }) => (error === undefined ? undefined : unfit(error))).filter((text) => text !== undefined)
  if (isInArchive()) lines.push(archiveRule)
  if (!supported) lines.push(`There is no prebuilt binary for ${process.platform}-${process.arch}.`)
  else if (last?.path === name && isMissing(last.error, name)) lines.push(missingPackage(name, version))
  return [...lines, compile(version)].join('\n')
}
