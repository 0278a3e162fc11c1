#pragma once

#include <string>

#include "formats/model_files.h"
#include "golden.h"
#include "golden_case.h"
#include "graph/device.h"
#include "graph/weights.h"
#include "kernels/common/tile.h"

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

/// An expected value of a case that is opened from its files.
inline golden::Tensor expected_of(const golden::Case & c, const std::string & name) {
    const golden::Values v = golden::expected(c, name);
    golden::Tensor t;
    t.shape = v.shape, t.data = v.data, t.atol = v.atol, t.stride = v.stride;
    for (const float value : t.data) t.max_abs = std::fmax(t.max_abs, std::fabs(value));
    return t;
}

inline bool has_expected(const golden::Case & c, const std::string & name) {
    return c.json.at("expected").contains(name);
}

/// The conditioner of that kind; throws where the model has none.
inline const latent::ConditionerConfig & conditioner(const latent::ModelSpec & spec, const std::string & kind) {
    for (const latent::ConditionerConfig & c : spec.conditioners) {
        if (c.kind == kind) return c;
    }
    throw latent::Error(latent::ErrorCode::internal, "no conditioner " + kind);
}
