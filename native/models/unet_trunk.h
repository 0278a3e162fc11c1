#pragma once

#include <functional>
#include <vector>

#include "graph/ops.h"
#include "models/denoising_network.h"
#include "networks/unet.h"

// The first half of a U-Net. A control network (ControlNet, arXiv 2302.05543) is a second trunk, whose maps are added to the
// skips and the middle of the first; a T2I adapter (arXiv 2302.08453) adds to the skips inside the trunk.

namespace latent::models {

/// The trunk's outputs for the up path.
struct TrunkMaps {
    graph::Seq emb;                 // [4 * model_channels] per row, after its SiLU
    std::vector<graph::Map> skips;  // outermost first, as UNetTrunk::skip_channels
    graph::Map middle;              // absent if the trunk ended early
};

/// The result of a callback for a skip connection.
struct SkipStep {
    graph::Map map;     // the map that the trunk continues with and keeps as the skip
    bool last = false;  // the trunk ends here, without a middle
};

/// Called for every skip connection, 0 being the outermost, before the next block reads it.
using OnSkip = std::function<SkipStep(int skip, const graph::Map & made)>;

/// Adds a trunk to the graph. Inputs: `timestep` and `x`; if the layers have them, `guidance`, `class`, `vector`, and the keys
/// and values of the context under the names of unet_layers.h.
TrunkMaps unet_trunk(graph::Ops & ops, const UNetConfig & config, const networks::UNetTrunk & layers,
                     const DenoisingShape & shape, const OnSkip & on_skip);

}  // namespace latent::models
