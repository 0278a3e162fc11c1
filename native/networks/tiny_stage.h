#pragma once

#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"

// The tiny autoencoder (TAESD, TAESDXL) as layers and parameters, under the names of its files: "encoder.0.weight" ...
// "decoder.1.weight" .... Activations and upsampling layers count in the numbering but have no parameters.

namespace latent::networks {

/// Three convolutions with ReLUs between them, plus the input, then a ReLU.
struct TinyBlock {
    Conv conv_0, conv_2, conv_4;
};

struct TinyLevel {
    Conv resample;  // no bias; downsamples in the encoder, upsamples in the decoder; absent (in == 0) in the first level of each
    std::vector<TinyBlock> blocks;
};

struct TinyLayers {
    Conv encoder_in, encoder_out, decoder_in, decoder_out;
    std::vector<TinyLevel> down, up;  // in the order of execution; `down` is empty if there is no encoder
};

/// Throws model_format if the configuration cannot form a network.
TinyLayers declare_tiny_stage(const AutoencoderConfig & config, ParameterList & list, const std::string & prefix);

/// Radius of the receptive field in latent pixels, of the decoder and the encoder.
int tiny_stage_halo(const AutoencoderConfig & config);

}  // namespace latent::networks
