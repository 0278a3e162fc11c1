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
    std::vector<float> up;    // [rows, rank]; strength and alpha are in it
};

/// One layer of a file and the parameters that it is for.
struct AdaptedLayer {
    const AdapterFile * file = nullptr;
    const AdapterLayer * layer = nullptr;
    const Parameter * weight = nullptr;
    double strength = 1;
};

/// Whether it changes the weight at all (it may be a bias alone), and whether it adds to the bias.
bool changes_weight(const AdapterLayer & layer);
bool changes_bias(const AdapterLayer & layer);
/// Why a layer cannot be applied: its form is known, and not implemented; "" where it can.
std::string not_applied(const AdapterLayer & layer);

/// The numbers that the model has, read when they are asked for.
using BaseNumbers = std::function<const std::vector<float> &()>;

// All throw model_format, naming file and layer, where tensors are missing or of a wrong shape.

/// What is added to a weight as a low rank; nullopt where it is none, or so high a rank that a weight of its own is less work.
std::optional<LowRank> low_rank_of(const AdaptedLayer & adapted, const BaseNumbers & base);
/// Changes the numbers `w` of the weight, which earlier adapters may have changed. What is added is a difference to `base`;
/// what turns or scales acts on `w`. `check` is called often, and may throw.
void change_weight(const AdaptedLayer & adapted, const BaseNumbers & base, const std::function<void()> & check,
                   std::vector<float> & w);
/// Adds to the numbers of the bias.
void change_bias(const AdaptedLayer & adapted, std::vector<float> & bias);

}  // namespace latent::formats
