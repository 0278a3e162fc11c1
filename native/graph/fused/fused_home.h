#pragma once

#include "graph/home.h"

namespace latent::graph {

/// Our CPU kernels (OpsCpu), and weights packed for products in 8-bit integers.
const Home & fused_home();

}  // namespace latent::graph
