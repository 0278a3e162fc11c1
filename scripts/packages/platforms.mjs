/**
 * The packages with prebuilt binaries: one per operating system, processor and C library. The names are those of lib/native/platform-package.ts, `prebuild` is
 * the path of prebuildify's binary. A binary must not need a newer C library than `glibc`.
 */
export const scope = '@node-latent-diffusion'
export const libraryName = 'node-latent-diffusion'

export const platforms = [
  { name: 'darwin-arm64', os: 'darwin', cpu: 'arm64', prebuild: 'darwin-arm64/latent.node', title: 'macOS on Apple silicon' },
  { name: 'darwin-x64', os: 'darwin', cpu: 'x64', prebuild: 'darwin-x64/latent.node', title: 'macOS on Intel' },
  {
    name: 'linux-arm64',
    os: 'linux',
    cpu: 'arm64',
    libc: 'glibc',
    glibc: '2.28',
    prebuild: 'linux-arm64/latent.glibc.node',
    title: 'Linux on arm64 with glibc 2.28 or newer',
  },
  { name: 'linux-arm64-musl', os: 'linux', cpu: 'arm64', libc: 'musl', prebuild: 'linux-arm64/latent.musl.node', title: 'Linux on arm64 with musl' },
  {
    name: 'linux-x64',
    os: 'linux',
    cpu: 'x64',
    libc: 'glibc',
    glibc: '2.28',
    prebuild: 'linux-x64/latent.glibc.node',
    title: 'Linux on x86-64 with glibc 2.28 or newer',
  },
  { name: 'linux-x64-musl', os: 'linux', cpu: 'x64', libc: 'musl', prebuild: 'linux-x64/latent.musl.node', title: 'Linux on x86-64 with musl' },
  { name: 'win32-arm64', os: 'win32', cpu: 'arm64', prebuild: 'win32-arm64/latent.node', title: 'Windows on arm64' },
  { name: 'win32-x64', os: 'win32', cpu: 'x64', prebuild: 'win32-x64/latent.node', title: 'Windows on x86-64' },
]

/** The name of the package for this machine. */
export function platformHere() {
  const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
  return `${process.platform}-${process.arch}${musl ? '-musl' : ''}`
}
