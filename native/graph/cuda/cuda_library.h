#pragma once

#include <string>

#include "cuda/cuda_api.h"

namespace latent::graph {

/// The CUDA engine, a shared library of its own that is loaded when it is first asked for and stays loaded.
///
/// Where it is, TypeScript says (beside the addon, or an installed package of the same version), after it has let a child process
/// try it: a driver that crashes must not take the caller's process with it. Without that word the environment variable
/// LATENT_CUDA_LIBRARY counts.
void set_cuda_library(const std::string & path);
/// From now on CUDA devices are refused with this reason; "" takes it back.
void refuse_cuda(const std::string & reason);

struct CudaLibrary {
    const latent_cuda_api * api = nullptr;
    std::string path;     // empty: nobody named one, and there are no CUDA devices
    std::string refused;  // why there is a library and no api
};

/// Loads it where that was not done yet. Safe from any thread; never throws for what the library is.
CudaLibrary cuda_library();

}  // namespace latent::graph
