#pragma once

#include <cstdint>

struct ggml_cgraph;

namespace latent::graph {

/// Device memory that ggml's CUDA backend takes for itself while it computes a graph, and keeps: cuBLAS's workspace, and a stack
/// of copies of one product's operands and result, as large as its largest use. An estimate, rather above the truth than below
/// it: which copies are made depends on the GPU, and what cuBLAS takes on its version.
uint64_t cuda_scratch_bytes(ggml_cgraph * graph);

}  // namespace latent::graph
