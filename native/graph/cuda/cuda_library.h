#pragma once

#include <string>

#include "cuda/cuda_api.h"

namespace latent::graph {

/// The CUDA engine, a separate shared library that is loaded at its first use and stays loaded.
///
/// TypeScript gives its path (next to the addon, or in an installed package of the same version) after testing it in a child
/// process, because a crashing driver must not end the caller's process. Otherwise the environment variable LATENT_CUDA_LIBRARY
/// is used.
void set_cuda_library(const std::string & path);
/// From now on CUDA devices are reported as unusable with this reason; "" clears it.
void refuse_cuda(const std::string & reason);

struct CudaLibrary {
    const latent_cuda_api * api = nullptr;
    std::string path;     // empty: no library was given, so there are no CUDA devices
    std::string refused;  // why the library has no api
};

/// Whether a path or a reason against it was given. Loads nothing.
bool cuda_library_given();
/// Loads it if it is not loaded yet. Safe from any thread; never throws because of the library.
CudaLibrary cuda_library();

}  // namespace latent::graph
