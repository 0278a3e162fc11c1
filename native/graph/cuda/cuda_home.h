#pragma once

#include "graph/home.h"

namespace latent::graph {

/// Kernels of our own on NVIDIA GPUs (native/cuda), reached through a table of C functions: OpsCuda.
const Home & cuda_home();

}  // namespace latent::graph
