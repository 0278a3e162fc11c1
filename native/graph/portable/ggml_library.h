#pragma once

#include <string>
#include <vector>

#include "backend/backend_api.h"

namespace latent::graph {

/// A ggml backend in a library of its own (native/backend), which is loaded at its first use and stays loaded.
///
/// As for the CUDA engine, TypeScript gives its path after testing it in a child process. Otherwise the environment variable
/// LATENT_VULKAN_LIBRARY, LATENT_METAL_LIBRARY or LATENT_GGML_CUDA_LIBRARY is used.
void set_backend_library(const std::string & kind, const std::string & path);
/// From now on devices of this kind are reported as unusable with this reason; "" clears it.
void refuse_backend(const std::string & kind, const std::string & reason);

/// The kinds that may be given: "vulkan", "metal", "ggml-cuda".
const std::vector<std::string> & backend_kinds();

struct BackendLibrary {
    const latent_backend_api * api = nullptr;
    std::string path;     // empty: no library was given, so there are no such devices
    std::string refused;  // why the library has no api
};

/// Whether a path or a reason against it was given. Loads nothing.
bool backend_library_given(const std::string & kind);
/// Loads it if it is not loaded yet. Safe from any thread; never throws because of the library.
BackendLibrary backend_library(const std::string & kind);

}  // namespace latent::graph
