#pragma once

#include "graph/home.h"

namespace latent::graph {

/// Our kernels for NVIDIA GPUs (native/cuda), called through a table of C functions: OpsCuda.
const Home & cuda_home();

}  // namespace latent::graph
