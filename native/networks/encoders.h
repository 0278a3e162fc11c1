#pragma once

#include <string>
#include <vector>

#include "core/conditioner_params.h"
#include "core/parameters.h"

// The encoders of conditioning as layers and parameters: CLIP's towers (transformers modeling_clip), BERTEmbedder over
// x_transformer, and the small trained conditioners of the paper's models.

namespace latent::networks {

/// CLIPEncoderLayer
struct ClipLayer {
    Norm norm1, norm2;
    Linear q, k, v, out, fc1, fc2;
};

struct ClipTextLayers {
    Embedding tokens;
    const Parameter * positions = nullptr;
    std::vector<ClipLayer> layers;
    Norm final_norm;
    const Parameter * projection = nullptr;  // [projection_dim, hidden_size]; null: the configuration has none
};

struct ClipVisionLayers {
    Embedding class_token;  // one row
    Conv patches;
    const Parameter * positions = nullptr;
    Norm norm_in;
    std::vector<ClipLayer> layers;
    Norm norm_out;
    const Parameter * projection = nullptr;
};

/// x_transformer.Attention and FeedForward, each after its LayerNorm.
struct BertLayer {
    Norm norm_attention, norm_feed;
    Linear q, k, v, out, fc_in, fc_out;
};

struct BertLayers {
    Embedding tokens;
    const Parameter * positions = nullptr;
    std::vector<BertLayer> layers;
    Norm norm;
};

// Each throws model_format if the configuration cannot form a network. Prefixes of towers end before "embeddings."; projections
// are next to their tower.
ClipTextLayers declare_clip_text(const ClipTextConfig & config, ParameterList & list, const std::string & prefix);
ClipVisionLayers declare_clip_vision(const ClipVisionConfig & config, ParameterList & list, const std::string & prefix);
/// `to_logits` in the files is not used.
BertLayers declare_bert(const BertConfig & config, ParameterList & list, const std::string & prefix);
/// ClassEmbedder: a row per class.
Embedding declare_class_table(const ClassConfig & config, ParameterList & list, const std::string & prefix);
/// SpatialRescaler: the 1x1 convolution after downsampling.
Conv declare_rescaler(const RescalerConfig & config, ParameterList & list, const std::string & prefix);

}  // namespace latent::networks
