#include "graph/portable/cuda_scratch.h"

#include <ggml.h>

#include <algorithm>

namespace latent::graph {
namespace {

uint64_t elements(const ggml_tensor * tensor) {
    return static_cast<uint64_t>(ggml_nelements(tensor));
}

constexpr uint64_t least = 32;                    // elements of a row that products with blocks are padded to, at most
constexpr uint64_t step = uint64_t{2} << 20;      // the driver's granularity of memory
constexpr uint64_t partial = uint64_t{64} << 20;  // partial sums of products with blocks: a tile for each core

/// What cuBLAS takes with its handle, for the first product: 32 MiB on compute capability 9.0 (documentation of
/// cublasSetWorkspace()), less before it.
constexpr uint64_t workspace = uint64_t{32} << 20;

}  // namespace

// ggml_cuda_op_mul_mat_cublas() decodes weights, to float32 on GPUs without fast 16-bit arithmetic, and rounds the other operand
// to 16 bits; the result may be 16-bit before it is float32. ggml_cuda_mul_mat_q() rounds the other operand to q8_1.
uint64_t cuda_scratch_bytes(ggml_cgraph * graph) {
    uint64_t most = 0, kept = 0;
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (node->op != GGML_OP_MUL_MAT) continue;
        kept = workspace;
        const ggml_tensor *a = node->src[0], *b = node->src[1];
        const bool blocks = ggml_is_quantized(a->type);
        uint64_t bytes = 0;
        if (a->type != GGML_TYPE_F32) bytes = 4 * elements(a) + 2 * (elements(b) + least) + 2 * elements(node);
        if (blocks) bytes = std::max(bytes, (elements(b) + 512 * static_cast<uint64_t>(ggml_nrows(b))) * 36 / 32 + partial);
        most = std::max(most, bytes);
    }
    return kept + (most + step - 1) / step * step;
}

}  // namespace latent::graph
