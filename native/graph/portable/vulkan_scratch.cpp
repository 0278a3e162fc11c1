#include "graph/portable/vulkan_scratch.h"

#include <ggml.h>

#include <algorithm>

namespace latent::graph {
namespace {

uint64_t elements(const ggml_tensor * tensor) {
    return static_cast<uint64_t>(ggml_nelements(tensor));
}

// ggml_vk_mul_mat_q_f16() pads the columns of a copy to its tile, which has up to 128 rows and 256 columns.
constexpr int64_t tile_rows = 128, tile_columns = 256;

// ggml_vk_guess_split_k() splits sums of 2048 and more: into up to 8 parts if the tiles of the result (of one image) are at most
// half as many as the GPU's cores, into 3 if they are at most two thirds. The GPUs with the most cores have 304.
constexpr int64_t split_length = 2048, most_splits = 8, most_cores = 304;

/// The parts of a split sum at most, whatever the GPU and its tile: smaller tiles are more, and mean fewer parts.
int64_t splits_of(const ggml_tensor * product, int64_t length) {
    if (length < split_length) return 1;
    const int64_t tiles = ((product->ne[0] + tile_rows - 1) / tile_rows) * ((product->ne[1] + tile_columns - 1) / tile_columns);
    if (tiles <= most_cores / 2) return std::clamp<int64_t>(most_cores / tiles, 3, most_splits);
    return tiles <= most_cores * 2 / 3 ? 3 : 1;
}

// ggml_vk_soft_max() keeps a maximum and a sum for every 512 columns of a longer row than this.
constexpr int64_t soft_max_columns = 16384, soft_max_part = 512;

}  // namespace

uint64_t vulkan_scratch_bytes(ggml_cgraph * graph, bool float32) {
    uint64_t left = 0, right = 0, sums = 0;  // ggml's prealloc_x, _y and _split_k
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (node->op == GGML_OP_SOFT_MAX && node->ne[0] > soft_max_columns) {
            const int64_t parts = (node->ne[0] + soft_max_part - 1) / soft_max_part * ggml_nrows(node);
            left = std::max(left, sizeof(float) * static_cast<uint64_t>(parts));
            right = std::max(right, sizeof(float) * static_cast<uint64_t>(parts));
        }
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
        const auto splits = static_cast<uint64_t>(splits_of(node, b->ne[0]));
        if (splits > 1) sums = std::max(sums, splits * sizeof(float) * elements(node));
    }
    return left + right + sums;
}

}  // namespace latent::graph
