#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"

// KL and VQ first stages as layers and their parameters: AutoencoderKL and VQModelInterface with Encoder and Decoder of
// diffusionmodules/model.py.

namespace latent::networks {

/// model.ResnetBlock, without a time embedding.
struct StageBlock {
    Norm norm1, norm2;
    Conv conv1, conv2;
    std::optional<Conv> shortcut;
};

/// model.AttnBlock: one head over all channels; the 1x1 convolutions are linear layers over pixels.
struct StageAttention {
    Norm norm;
    Linear q, k, v, proj_out;
};

struct StageLevel {
    std::vector<StageBlock> blocks;
    std::vector<StageAttention> attentions;  // one per block, or none
    std::optional<Conv> resample;            // halves in the encoder, doubles in the decoder
};

struct StageMiddle {
    StageBlock block_1, block_2;
    std::optional<StageAttention> attn_1;
};

/// Encoder, quantiser and decoder of one first stage.
struct StageLayers {
    Conv encoder_in, encoder_out;
    std::vector<StageLevel> down;
    StageMiddle encoder_middle;
    Norm encoder_norm;
    std::optional<Conv> quant, post_quant;
    const Parameter * codes = nullptr;  // [codebook_size, embed_dim], float32 in every mode
    Conv decoder_in, decoder_out;
    StageMiddle decoder_middle;
    std::vector<StageLevel> up;  // in order of execution, lowest resolution first
    Norm decoder_norm;
};

/// Throws model_format if the configuration cannot form a network.
StageLayers declare_first_stage(const AutoencoderConfig & config, ParameterList & list, const std::string & prefix);

}  // namespace latent::networks
