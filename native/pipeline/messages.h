#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/span.h"
#include "core/text.h"

// Helpers for the checks of requests.

namespace latent::pipeline {

[[noreturn]] inline void refuse(const std::string & why) {
    throw Error(ErrorCode::invalid_argument, why);
}

inline size_t elements(const std::array<int64_t, 4> & shape) {
    return static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
}

inline bool all_finite(Span<const float> values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

/// "768x512".
inline std::string size_text(int64_t width, int64_t height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

}  // namespace latent::pipeline
