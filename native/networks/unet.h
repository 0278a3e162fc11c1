#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"

// The U-Net of latent diffusion and its descendants as layers and their parameters: openaimodel.UNetModel.

namespace latent::networks {

/// openaimodel.ResBlock; with `resampling`, the form that also downsamples or upsamples.
struct ResBlock {
    enum class Resampling { none, down, up };
    Norm norm_in, norm_out;
    Conv conv_in, conv_out;
    Linear emb;
    std::optional<Conv> skip;
    bool scale_shift = false;
    Resampling resampling = Resampling::none;
};

/// attention.CrossAttention
struct CrossAttention {
    Linear q, k, v, out;
    int heads = 1;
};

/// attention.BasicTransformerBlock
struct TransformerBlock {
    Norm norm1, norm2, norm3;
    CrossAttention attn1, attn2;
    bool self_attention = true;  // false: attn1 attends to the context too (disable_self_attn)
    Linear ff_in, ff_out;
};

/// openaimodel.AttentionBlock or attention.SpatialTransformer.
struct Attention {
    UNetAttention kind = UNetAttention::spatial_transformer;
    Norm norm;
    // SpatialTransformer; a 1x1 convolution over pixels is a linear layer over tokens
    Linear proj_in, proj_out;
    std::vector<TransformerBlock> blocks;
    // AttentionBlock
    Linear qkv;
    int heads = 1;
};

/// openaimodel.Downsample or Upsample, or the ResBlock used instead (resblock_updown).
struct Resample {
    bool up = false;
    std::optional<Conv> conv;  // absent: only pooling or nearest-neighbour upsampling
    std::optional<ResBlock> block;
};

/// One entry of input_blocks or output_blocks.
struct UNetEntry {
    ResBlock res;
    std::optional<Attention> attention;
};

struct UNetLevel {
    std::vector<UNetEntry> entries;
    std::optional<Resample> resample;  // downsampling at the end of an input level, upsampling at the end of an output level
};

/// Embeddings, down path and middle: the part that a ControlNet copies and a T2I adapter adds to.
struct UNetTrunk {
    Linear time_0, time_2;
    std::optional<Linear> guidance;
    std::optional<Embedding> class_table;
    std::optional<Linear> vector_0, vector_2;
    Conv input;
    std::vector<UNetLevel> down;
    std::optional<ResBlock> middle_in, middle_out;  // distilled networks may have only the first one, or neither
    std::optional<Attention> middle;
    std::vector<int64_t> skip_channels;  // of the skip connections, outermost first; the middle block has as many as the last one

    /// The layers that attend to the context.
    std::vector<const CrossAttention *> context_attentions() const;
};

struct UNetLayers {
    UNetTrunk trunk;
    std::vector<UNetLevel> up;  // in order of execution
    Norm norm_out;
    Conv output;

    /// The layers that attend to the context, those of the trunk first.
    std::vector<const CrossAttention *> context_attentions() const;
};

/// Throws model_format if the configuration cannot form a network.
UNetTrunk declare_unet_trunk(const UNetConfig & config, ParameterList & list, const std::string & prefix);
UNetLayers declare_unet(const UNetConfig & config, ParameterList & list, const std::string & prefix);

}  // namespace latent::networks
