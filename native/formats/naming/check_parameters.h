#pragma once

#include <vector>

#include "core/tensor_source.h"
#include "networks/declared.h"

namespace latent::formats {

/// Compares a source with the parameters of a model's networks. Linear weights may be stored as 1x1 convolutions and vice versa.
/// Throws model_format naming missing tensors and wrong shapes, unsupported_model naming tensors that the specification does not
/// account for. Returns the names of the existing tensors that the networks read.
std::vector<std::string> check_parameters(const std::vector<networks::DeclaredNetwork> & networks, const TensorSource & source);

}  // namespace latent::formats
