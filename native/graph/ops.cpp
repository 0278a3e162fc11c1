#include "graph/ops.h"

#include <cmath>

namespace latent::graph {

void timestep_embedding(double timestep, int dim, float * out, double max_period) {
    const int half = dim / 2;
    for (int i = 0; i < half; ++i) {
        const double angle = timestep * std::exp(-std::log(max_period) * i / half);
        out[i] = static_cast<float>(std::cos(angle));
        out[half + i] = static_cast<float>(std::sin(angle));
    }
    if (dim % 2) out[dim - 1] = 0.0f;
}

}  // namespace latent::graph
