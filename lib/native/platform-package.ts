/** The packages with the prebuilt binaries, one per operating system, processor and C library: optional dependencies of the published package. */
/* eslint-disable @typescript-eslint/no-require-imports */
import { familySync } from 'detect-libc'
import type { NativeAddon } from './contract.js'
import { scope } from './package-root.js'

/** The C library, if the name of a prebuilt binary depends on it. */
export function libc(): 'glibc' | 'musl' | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    return familySync() === 'musl' ? 'musl' : 'glibc'
  } catch {
    // The runtime does not allow reading system information.
    return 'glibc'
  }
}

/** Names of systems with a package: `linux-x64`, `linux-x64-musl`, `darwin-arm64` ... */
export function platformName(platform: string = process.platform, arch: string = process.arch, system = libc()): string {
  return `${platform}-${arch}${platform === 'linux' && system === 'musl' ? '-musl' : ''}`
}

export function platformPackage(name: string = platformName()): string {
  return `${scope}/${name}`
}

/** Either the binary, or why it could not be loaded; neither if there is no package for the system. */
export interface LoadedPackage {
  addon?: NativeAddon
  error?: unknown
}

/**
 * Loads the binary of a platform package. Every `require` has a literal name and its own `try`, so that dependency tracers (Next.js, Nitro, serverless
 * packagers) find the installed one, and bundlers accept that the others are missing. scripts/packages/platforms.mjs has the same list.
 */
export function requirePlatformPackage(name: string = platformName()): LoadedPackage {
  switch (name) {
    case 'darwin-arm64':
      try {
        return { addon: require('@node-latent-diffusion/darwin-arm64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'darwin-x64':
      try {
        return { addon: require('@node-latent-diffusion/darwin-x64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'linux-arm64':
      try {
        return { addon: require('@node-latent-diffusion/linux-arm64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'linux-arm64-musl':
      try {
        return { addon: require('@node-latent-diffusion/linux-arm64-musl') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'linux-x64':
      try {
        return { addon: require('@node-latent-diffusion/linux-x64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'linux-x64-musl':
      try {
        return { addon: require('@node-latent-diffusion/linux-x64-musl') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'win32-arm64':
      try {
        return { addon: require('@node-latent-diffusion/win32-arm64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    case 'win32-x64':
      try {
        return { addon: require('@node-latent-diffusion/win32-x64') as NativeAddon }
      } catch (error) {
        return { error }
      }
    default:
      return {}
  }
}
