#pragma once

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include "core/tensor_source.h"

// ggml as this layer uses it. Included by .cpp files of graph and models only.

namespace latent::graph {

/// GGML_TYPE_COUNT for types that ggml does not have.
ggml_type to_ggml(DType type);

/// Discards ggml's log messages but keeps the last error for our messages. Called before the first use of ggml.
void quiet_ggml();
/// What the log of ggml in this library receives, for libraries with a ggml of their own. `level`: a ggml_log_level.
void pass_ggml_log(int level, const char * text);
/// Returns and clears the last error that ggml logged, "" if none.
std::string take_ggml_error();

}  // namespace latent::graph
