#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "formats/adapters/adapter_file.h"

namespace latent::formats {

/// W + up * down.
struct LowRank {
    int64_t rank = 0;
    std::vector<float> down;  // [rank, inner]
    std::vector<float> up;    // [rows, rank], with alpha applied
};

/// One layer of an adapter file and the parameters that it changes.
struct AdaptedLayer {
    const AdapterFile * file = nullptr;
    const AdapterLayer * layer = nullptr;
    const Parameter * weight = nullptr;
    double strength = 1;
    /// The file's layer has the rows of several weights, one after the other (q, k and v of OpenCLIP); this is one of them.
    int part = 0, parts = 1;
};

/// Whether it changes the weight (some layers change only the bias), and whether it adds to the bias.
bool changes_weight(const AdapterLayer & layer);
bool changes_bias(const AdapterLayer & layer);
/// Why a layer cannot be applied to a weight, which is one of `parts` that it changes; "" if it can.
std::string not_applied(const AdapterFile & file, const AdapterLayer & layer, const Parameter & weight, int parts);

/// Reads the model's own values on demand.
using BaseNumbers = std::function<const std::vector<float> &()>;

// All throw model_format, naming file and layer, if tensors are missing or have the wrong shape.

/// Changes the values `w` of the weight, which earlier adapters may have changed. Additions are computed from `base`; rotations
/// and scales act on `w`. `check` is called often and may throw.
void change_weight(const AdaptedLayer & adapted, const BaseNumbers & base, const std::function<void()> & check,
                   std::vector<float> & w);
/// Adds to the values of the bias.
void change_bias(const AdaptedLayer & adapted, std::vector<float> & bias);

}  // namespace latent::formats
