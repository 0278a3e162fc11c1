#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"
#include "core/parts.h"

namespace latent::networks {

/// A network of a model, as a list of parameters.
struct DeclaredNetwork {
    ModelPart part = ModelPart::unet;
    std::string title;   // in a sentence: "the class embedder"
    std::string prefix;  // every tensor below it belongs to the network
    ParameterList parameters;
};

/// The network of one conditioner; without parameters if the conditioner has no tensors.
DeclaredNetwork declare_conditioner(const ConditionerConfig & conditioner);

using DeclaredNetworks = std::shared_ptr<const std::vector<DeclaredNetwork>>;

/// Every network of `spec` that has tensors, under canonical names, for strict checking, inspect() and convert(). Made by the
/// same declarations that the networks compute with. Throws model_format if a configuration cannot form a network.
DeclaredNetworks declare_networks(const ModelSpec & spec);

/// Looks up a tensor of these networks by its canonical name.
struct DeclaredTensor {
    const Parameter * parameter = nullptr;  // null: no network reads a tensor of this name
    ModelPart part = ModelPart::unet;
};
DeclaredTensor find_declared(const std::vector<DeclaredNetwork> & networks, const std::string & name);

}  // namespace latent::networks
