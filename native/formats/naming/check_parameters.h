#pragma once

#include <vector>

#include "core/tensor_source.h"
#include "networks/declared.h"

namespace latent::formats {

/// Compares a source with the parameters of a model's networks. Linear weights may be stored as 1x1 convolutions and the other
/// way round. Throws model_format naming what is missing or has another shape, unsupported_model naming tensors of a network that
/// the specification does not explain. Returns the names that are there of those that the networks read.
std::vector<std::string> check_parameters(const std::vector<networks::DeclaredNetwork> & networks, const TensorSource & source);

}  // namespace latent::formats
