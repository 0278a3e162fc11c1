#pragma once

#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// A tensor that a network needs. Linear weights may be stored as 1x1 convolutions and the other way round.
struct LayoutEntry {
    std::string name;
    std::vector<int64_t> shape;
    bool optional = false;
};

// What a specification's networks consist of, by the rules of openaimodel.UNetModel, of the first stages' Encoder and Decoder,
// and of transformers' CLIPTextModel (ldm-systems sections 2, 4 and 5). Names are full canonical keys.
std::vector<LayoutEntry> unet_layout(const UNetConfig & config);
std::vector<LayoutEntry> first_stage_layout(const AutoencoderConfig & config);
std::vector<LayoutEntry> clip_text_layout(const ClipTextConfig & config, const std::string & prefix);

/// Compares a source with what `spec` needs. Throws model_format naming what is missing or has another shape, unsupported_model
/// naming tensors of the U-Net that the specification does not explain. Returns the names that belong to the networks.
std::vector<std::string> check_layout(const ModelSpec & spec, const TensorSource & source);

}  // namespace latent::formats
