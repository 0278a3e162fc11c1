#include "graph/ops.h"

#include <cmath>

namespace latent::graph {
namespace {

Error no_transforms() {
    return Error(ErrorCode::internal, "This home does not transform what layers read and write");
}

}  // namespace

Map Ops::scaled(Map, const Parameter *, const Parameter *) {
    throw no_transforms();
}

Seq Ops::scaled(Seq, const Parameter *, const Parameter *) {
    throw no_transforms();
}

Seq Ops::add_blocks(Seq, const BlockProduct &, const Parameter *) {
    throw no_transforms();
}

Seq Ops::folded(Seq, int64_t) {
    throw no_transforms();
}

Seq Ops::mixed(Seq, const Parameter *, Seq) {
    throw no_transforms();
}

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
