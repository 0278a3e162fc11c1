#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"
#include "core/parts.h"

namespace latent::networks {

/// A network of a model as the list of its parameters.
struct DeclaredNetwork {
    ModelPart part = ModelPart::unet;
    std::string title;   // in a sentence: "the class embedder"
    std::string prefix;  // every tensor below it is the network's own
    ParameterList parameters;
};

/// The network of one conditioner, without parameters for those that have no tensors.
DeclaredNetwork declare_conditioner(const ConditionerConfig & conditioner);

using DeclaredNetworks = std::shared_ptr<const std::vector<DeclaredNetwork>>;

/// Every network of `spec` that has tensors, under canonical names: what strict checking, inspect() and convert() read, made by
/// the declarations that the networks themselves compute with. Throws model_format when a configuration is not a network.
DeclaredNetworks declare_networks(const ModelSpec & spec);

/// A tensor of one of them by its canonical name.
struct DeclaredTensor {
    const Parameter * parameter = nullptr;  // null: none of the networks reads a tensor of this name
    ModelPart part = ModelPart::unet;
};
DeclaredTensor find_declared(const std::vector<DeclaredNetwork> & networks, const std::string & name);

}  // namespace latent::networks
