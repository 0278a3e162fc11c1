#pragma once

#include <functional>

#include "core/parameter_change.h"
#include "formats/adapters/deltas.h"

namespace latent::formats {

/// Adds an adapter to what is computed beside the model's own weight. Low-rank methods become rows of `down` and columns of `up`,
/// (IA)^3 and the norms of DoRA gains, OFT and BOFT blocks. `transforms`: whether gains and blocks are allowed. False if there is
/// no such form, or if it is more work than half of the layer: then the weight must be changed (change_weight()), and `change` is
/// of no use. `base` and `check` as for change_weight().
bool add_at_run_time(const AdaptedLayer & adapted, bool transforms, const BaseNumbers & base, const std::function<void()> & check,
                     ParameterChange & change);

}  // namespace latent::formats
