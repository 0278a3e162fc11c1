#pragma once

#include "formats/adapters/adapter_file.h"

namespace latent::formats {

/// Moves to `layer.unused` what none of its methods reads: incomplete groups of tensors beside a complete one, the second of two
/// low-rank changes, and factors that are given twice. Leaves a layer as it is if nothing in it is complete.
void set_aside_unused(AdapterLayer & layer);

}  // namespace latent::formats
