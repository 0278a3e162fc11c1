#pragma once

#include <cstdint>

struct ggml_cgraph;

namespace latent::graph {

/// Device memory that ggml's Vulkan backend takes for itself while it computes a graph, and keeps: copies of operands in 16 or 8
/// bits and partial sums of products, each as large as its largest use. An upper bound, because some of it depends on the GPU.
/// `float32`: products of float32 are computed in float32, as their operands are.
uint64_t vulkan_scratch_bytes(ggml_cgraph * graph, bool float32);

}  // namespace latent::graph
