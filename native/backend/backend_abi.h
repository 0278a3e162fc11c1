#pragma once

#include <ggml-backend-impl.h>
#include <ggml.h>

#include <string>

namespace latent::backend {

/// What the engine and a backend's library must have in common, as text: ggml's version, and the sizes that depend on its
/// options.
inline std::string ggml_abi() {
    return std::string(ggml_version()) + " backend " + std::to_string(GGML_BACKEND_API_VERSION) + " tensor " +
           std::to_string(sizeof(ggml_tensor)) + " graph " + std::to_string(ggml_graph_overhead()) + " buffer " +
           std::to_string(sizeof(ggml_backend_buffer)) + " type " + std::to_string(sizeof(ggml_backend_buffer_type)) +
           " operations " + std::to_string(GGML_OP_COUNT) + " types " + std::to_string(GGML_TYPE_COUNT);
}

}  // namespace latent::backend
