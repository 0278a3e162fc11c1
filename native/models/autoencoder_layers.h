#pragma once

#include "graph/ops.h"
#include "networks/first_stage.h"

// The computation of the blocks of first stages (diffusionmodules/model.py).

namespace latent::models {

inline constexpr graph::GroupNormOptions norm_silu{32, 1e-6f, graph::Activation::silu, {}, {}};  // every norm of the autoencoders
inline constexpr graph::GroupNormOptions norm_only{32, 1e-6f, graph::Activation::none, {}, {}};

using networks::StageAttention;
using networks::StageBlock;
using networks::StageLayers;
using networks::StageLevel;
using networks::StageMiddle;

graph::Map run(graph::Ops & ops, graph::Map x, const StageAttention & w);
graph::Map run(graph::Ops & ops, graph::Map x, const StageMiddle & w);
graph::Map run_blocks(graph::Ops & ops, graph::Map x, const StageLevel & w);

}  // namespace latent::models
