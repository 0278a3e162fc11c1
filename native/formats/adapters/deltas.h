#pragma once

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

/// Whether it changes the weight at all (it may be a bias alone), whether as a low rank, and whether it adds to the bias.
bool changes_weight(const AdapterLayer & layer);
bool is_low_rank(const AdapterLayer & layer);
bool changes_bias(const AdapterLayer & layer);
/// Why a layer cannot be applied: its form is known, and not implemented; "" where it can.
std::string not_applied(const AdapterLayer & layer);

// All throw model_format, naming file and layer, where tensors are missing or of a wrong shape.

LowRank low_rank_of(const AdaptedLayer & adapted);
/// Changes the numbers `w` of the weight; `base` are those that the model has.
void change_weight(const AdaptedLayer & adapted, const std::vector<float> & base, std::vector<float> & w);
/// Adds to the numbers of the bias.
void change_bias(const AdaptedLayer & adapted, std::vector<float> & bias);

}  // namespace latent::formats
