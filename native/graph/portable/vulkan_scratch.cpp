#include "graph/portable/vulkan_scratch.h"

#include <ggml.h>

#include <algorithm>

namespace latent::graph {
namespace {

uint64_t elements(const ggml_tensor * tensor) {
    return static_cast<uint64_t>(ggml_nelements(tensor));
}

// ggml_vk_mul_mat_q_f16() pads the columns of a copy to its tile, which has up to 256 columns, and ggml_vk_guess_split_k() splits
// sums of 2048 and more into up to 8 parts if the tiles of the result are fewer than half of the GPU's cores.
constexpr int64_t tile_columns = 256, split_length = 2048;
constexpr uint64_t most_splits = 8, split_elements = uint64_t{1} << 20;

}  // namespace

uint64_t vulkan_scratch_bytes(ggml_cgraph * graph, bool float32) {
    uint64_t left = 0, right = 0, sums = 0;  // ggml's prealloc_x, _y and _split_k
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (node->op != GGML_OP_MUL_MAT) continue;
        const ggml_tensor *a = node->src[0], *b = node->src[1];
        const int64_t columns = (b->ne[1] + tile_columns - 1) / tile_columns * tile_columns;
        const uint64_t padded = elements(b) / static_cast<uint64_t>(b->ne[1]) * static_cast<uint64_t>(columns);
        if (a->type == GGML_TYPE_BF16 && b->type != GGML_TYPE_BF16) right = std::max(right, 2 * padded);
        if (!float32) {
            if (a->type == GGML_TYPE_F32) left = std::max(left, 2 * elements(a));                  // tensor cores
            if (b->type == GGML_TYPE_F32) right = std::max(right, 2 * padded);                     // the same
            if (ggml_is_quantized(a->type)) right = std::max(right, elements(b) * 36 / 32 + 144);  // q8_1
        }
        if (b->ne[0] >= split_length && elements(node) <= split_elements)
            sums = std::max(sums, most_splits * sizeof(float) * elements(node));
    }
    return left + right + sums;
}

}  // namespace latent::graph
