#pragma once

#include <string>

#include "models/unet_trunk.h"

namespace latent::models {

/// The part that a graph computes: everything; everything, with the features of `branch` as the output `features`; or, with these
/// features as an input, only the blocks outside them.
struct UNetPass {
    enum class Kind { whole, keep_features, outer } kind = Kind::whole;
    int branch = 0;  // DenoisingFeatures::branch
};

/// The second half of a U-Net: adds the up path over the maps of a trunk, and the output `out`. Residuals of control networks
/// have already been added to the maps.
void unet_up_path(graph::Ops & ops, const networks::UNetLayers & layers, const DenoisingShape & shape, const UNetPass & pass,
                  TrunkMaps trunk);

}  // namespace latent::models
