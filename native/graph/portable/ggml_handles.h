#pragma once

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include "core/tensor_source.h"

// ggml as this layer uses it. Included by .cpp files of graph and models only.

namespace latent::graph {

/// GGML_TYPE_COUNT for types that ggml has no counterpart of.
ggml_type to_ggml(DType type);

/// ggml's own messages go nowhere; the last error is kept for ours. Called before the first use of ggml.
void quiet_ggml();
/// The last error ggml logged ("" when none), taken out.
std::string take_ggml_error();

}  // namespace latent::graph
