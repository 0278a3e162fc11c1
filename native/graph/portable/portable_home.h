#pragma once

#include "graph/home.h"

namespace latent::graph {

/// Plain ggml operations (OpsGgml), on every ggml device: the baseline for measurements.
const Home & portable_home();

}  // namespace latent::graph
