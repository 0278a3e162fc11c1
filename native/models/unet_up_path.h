#pragma once

#include <string>

#include "models/unet_trunk.h"

namespace latent::models {

/// What a graph computes: everything; everything, with the features of `branch` as the output `features`; or, with those features
/// as an input, the blocks further out alone.
struct UNetPass {
    enum class Kind { whole, keep_features, outer } kind = Kind::whole;
    int branch = 0;  // DenoisingFeatures::branch
};

/// The second half of a U-Net: adds the up path over the maps of a trunk, and the output `out`. Residuals of control networks
/// are in the maps already.
void unet_up_path(graph::Ops & ops, const networks::UNetLayers & layers, const DenoisingShape & shape, const UNetPass & pass,
                  TrunkMaps trunk);

}  // namespace latent::models
