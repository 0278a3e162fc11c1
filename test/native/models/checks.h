#pragma once

#include <string>

#include "golden_case.h"
#include "graph/device.h"
#include "graph/weights.h"
#include "kernels/tile.h"

// What the golden tests of the networks share.

inline latent::graph::DevicePtr cpu() {
    static const latent::graph::DevicePtr device = latent::graph::Device::create("cpu", 1);
    return device;
}

inline const latent::graph::WeightPolicy exact{latent::graph::Precision::exact, {}};

/// Largest error of a network on f16 weights in fast mode, relative to the largest value: bfloat16 products where the processor
/// has them (8 bits of significand), otherwise the rounding of the weights alone.
inline double fast_bound() {
    return latent::kernels::tile_set(latent::kernels::Arithmetic::fast).bf16 ? 3e-2 : 3e-3;
}

inline void within(const std::string & what, double difference, double tolerance) {
    std::printf("     %-34s %.2e of %.2e\n", what.c_str(), difference, tolerance);
    if (!(difference <= tolerance)) check::fail("golden", 0, what + " is off by " + std::to_string(difference));
}
