/** The sources for `latent build`: native/, the used part of ggml, nlohmann/json and the Node-API headers, each with its licence. */
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { root } from '../build-native.mjs'

const require = createRequire(import.meta.url)
const packageFolder = (name) => path.dirname(require.resolve(`${name}/package.json`))
/** The folders of ggml's src/ that native/cmake compiles: ggml.cmake always, backends.cmake on request. */
const backends = ['ggml-cpu', 'ggml-vulkan', 'ggml-metal', 'ggml-cuda']
/** What ggml.cmake leaves out of the CPU backend: repacked layouts, a vendor's processor, and kernels that need a download. */
const uncompiled = /\/ggml-cpu\/(.*\/)?(repack\.cpp|(kleidiai|spacemit)\/.*)$/

function copy(from, to, options = {}) {
  if (!existsSync(from)) throw new Error(`${from} is missing: run 'npm ci' first`)
  mkdirSync(path.dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true, ...options })
}

function stageGgml(deps) {
  const whisper = path.join(packageFolder('ggml-source'), 'cpp', 'whisper.cpp')
  const [from, to] = [path.join(whisper, 'ggml'), path.join(deps, 'ggml')]
  for (const name of ['CMakeLists.txt', 'cmake', 'include', ...backends.map((backend) => `src/${backend}`)])
    copy(path.join(from, name), path.join(to, name), { filter: (file) => !uncompiled.test(file.replaceAll('\\', '/')) })
  for (const entry of readdirSync(path.join(from, 'src'), { withFileTypes: true })) {
    if (entry.isFile()) copy(path.join(from, 'src', entry.name), path.join(to, 'src', entry.name))
  }
  copy(path.join(whisper, 'LICENSE'), path.join(to, 'LICENSE'))
  copy(path.join(whisper, 'examples', 'json.hpp'), path.join(deps, 'nlohmann', 'json.hpp')) // its licence (MIT) is in its first lines
}

function stageHeaders(deps) {
  const wrapper = packageFolder('node-addon-api')
  for (const name of ['napi.h', 'napi-inl.h', 'napi-inl.deprecated.h', 'LICENSE.md'])
    copy(path.join(wrapper, name), path.join(deps, 'node-addon-api', name))
  const api = packageFolder('node-api-headers')
  for (const name of ['include', 'def', 'LICENSE']) copy(path.join(api, name), path.join(deps, 'node-api-headers', name))
}

/** Copies them into `folder`, third-party sources under deps/, where native/cmake looks for them. */
export function stageSources(folder) {
  for (const name of ['native', 'CMakeLists.txt', 'CMakePresets.json', path.join('scripts', 'build-native.mjs')])
    copy(path.join(root, name), path.join(folder, name))
  stageGgml(path.join(folder, 'deps'))
  stageHeaders(path.join(folder, 'deps'))
}
