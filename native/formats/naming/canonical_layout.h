#pragma once

#include <string>
#include <vector>

#include "core/conditioner_params.h"
#include "core/model_spec.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// A tensor that a network needs. Linear weights may be stored as 1x1 convolutions and the other way round.
struct LayoutEntry {
    std::string name;
    std::vector<int64_t> shape;
    bool optional = false;
    bool unused = false;  // part of the published files, never read
};

// What a specification's networks consist of, by the rules of openaimodel.UNetModel, of the first stages' Encoder and Decoder,
// of transformers' CLIPTextModel and CLIPVisionModel, and of the conditioners that the paper's models train. Names are full
// canonical keys.
std::vector<LayoutEntry> unet_layout(const UNetConfig & config);
std::vector<LayoutEntry> first_stage_layout(const AutoencoderConfig & config);
std::vector<LayoutEntry> clip_text_layout(const ClipTextConfig & config, const std::string & prefix);
std::vector<LayoutEntry> clip_vision_layout(const ClipVisionConfig & config, const std::string & prefix);
std::vector<LayoutEntry> bert_layout(const BertConfig & config, const std::string & prefix);
/// Any conditioner; nothing for those without tensors of their own.
std::vector<LayoutEntry> conditioner_layout(const ConditionerConfig & conditioner);

/// Compares a source with what `spec` needs. Throws model_format naming what is missing or has another shape, unsupported_model
/// naming tensors of a network that the specification does not explain. Returns the names that belong to the networks.
std::vector<std::string> check_layout(const ModelSpec & spec, const TensorSource & source);

}  // namespace latent::formats
