#pragma once

#include "graph/home.h"

namespace latent::graph {

/// Plain operations of ggml (OpsGgml), on every device that ggml has: the baseline of measurements.
const Home & portable_home();

}  // namespace latent::graph
