#pragma once

#include <cstdint>

struct ggml_cgraph;

namespace latent::graph {

/// Device memory that ggml's CUDA backend takes for itself while it computes a graph, and keeps: a stack of copies of one
/// product's operands and result, as large as its largest use. An upper bound, because the copies depend on the GPU.
uint64_t cuda_scratch_bytes(ggml_cgraph * graph);

}  // namespace latent::graph
