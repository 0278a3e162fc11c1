/** Rules that were taken from ggml's sources, since no test can run them here: if these functions change, the rules must be read again, then the hash. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'

const sources = path.join(path.dirname(require.resolve('ggml-source/package.json')), 'cpp', 'whisper.cpp', 'ggml', 'src')

/** The text of functions that begin at the margin, with single spaces. */
function functionTexts(file: string, names: string): string {
  return names
    .split(' ')
    .map((name) => functionText(file, name))
    .join(' ')
}

function functionText(file: string, name: string): string {
  const text = readFileSync(path.join(sources, file), 'utf8').replaceAll('\r\n', '\n')
  const found = new RegExp(`^[\\w ]*\\b${name}\\([^;{]*\\) \\{\\n[^]*?^\\}`, 'm').exec(text)
  if (!found) throw new Error(`${file} has no ${name}()`)
  return found[0].replaceAll(/\s+/g, ' ')
}

/** What buffers of ggml's CUDA backend do: what guard_buffers() replaces, and that the rest checks its calls. */
const buffers = ['type_alloc_buffer', 'free_buffer', 'init_tensor', 'set_tensor', 'get_tensor', 'cpy_tensor']
const guarded = ['ggml_backend_buffer_is_cuda', ...buffers.map((name) => `ggml_backend_cuda_buffer_${name}`)].join(' ')

test.each([
  ['test/native/backend/metal_rules.h', 'ggml-metal/ggml-metal-device.m', 'ggml_metal_device_supports_op', 'c87f1dd837dcb204'],
  ['native/graph/portable/vulkan_scratch.cpp', 'ggml-vulkan/ggml-vulkan.cpp', 'ggml_vk_guess_split_k', '28d6606e926ce58f'],
  ['native/graph/portable/vulkan_scratch.cpp', 'ggml-vulkan/ggml-vulkan.cpp', 'ggml_vk_mul_mat_q_f16', '7b225b062d69adb5'],
  ['native/graph/portable/vulkan_scratch.cpp', 'ggml-vulkan/ggml-vulkan.cpp', 'ggml_vk_soft_max', '1a602c7dfcd5bb2e'],
  ['test/native/backend/cuda_rules.h', 'ggml-cuda/ggml-cuda.cu', 'ggml_backend_cuda_device_supports_op', 'd263487414377c85'],
  ['native/graph/portable/cuda_scratch.cpp', 'ggml-cuda/ggml-cuda.cu', 'ggml_cuda_op_mul_mat_cublas', '7cdfc3d99b39fb68'],
  ['native/backend/ggml_cuda.cpp', 'ggml-cuda/ggml-cuda.cu', 'ggml_backend_cuda_device_get_memory', 'e2e5b28cce6a0689'],
  ['native/backend/ggml_cuda.cpp', 'ggml-cuda/ggml-cuda.cu', guarded, '27f12104a8e3a69a'],
  ['native/backend/backend_module.cpp', 'ggml-cuda/ggml-cuda.cu', 'ggml_cuda_error ggml_cuda_set_device', '716c51c730843cf4'],
  ['native/backend/metal.cpp', 'ggml-metal/ggml-metal-device.m', 'ggml_metal_rsets_free ggml_metal_buffer_rset_init', 'b2e35656b1467a0e'],
  [
    'native/backend/metal.cpp',
    'ggml-metal/ggml-metal.cpp',
    'ggml_backend_metal_buffer_type_alloc_buffer ggml_backend_metal_device_get_memory ggml_backend_metal_buffer_type_shared_get_max_size',
    '238c668a655bb01d',
  ],
  ['native/backend/backend_module.cpp', 'ggml-metal/ggml-metal-context.m', 'ggml_metal_synchronize ggml_metal_graph_compute', '04a3d9f521e3dfe8'],
])('%s follows %s, %s', (_rules, file, names, hash) => {
  const text = functionTexts(file, names)
  expect(text.length).toBeGreaterThan(500)
  expect(createHash('sha256').update(text).digest('hex').slice(0, 16)).toBe(hash)
})
