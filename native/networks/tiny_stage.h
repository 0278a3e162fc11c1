#pragma once

#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/parameters.h"

// The tiny autoencoder (TAESD, TAESDXL) as layers and their parameters, under the names of its own files: "encoder.0.weight" ...
// "decoder.1.weight" ..., where activations and upsamplings count and have no parameters.

namespace latent::networks {

/// Three convolutions with ReLUs between; the input is added, then the last ReLU.
struct TinyBlock {
    Conv conv_0, conv_2, conv_4;
};

struct TinyLevel {
    Conv resample;  // without bias: halves in the encoder, doubles in the decoder; of the first level of a half none (in == 0)
    std::vector<TinyBlock> blocks;
};

struct TinyLayers {
    Conv encoder_in, encoder_out, decoder_in, decoder_out;
    std::vector<TinyLevel> down, up;  // in the order of execution; `down` is empty where there is no encoder
};

/// Throws model_format when the configuration is not a network.
TinyLayers declare_tiny_stage(const AutoencoderConfig & config, ParameterList & list, const std::string & prefix);

/// Latent pixels on every side that a pixel of the picture, or of the latents, depends on at most.
int tiny_stage_halo(const AutoencoderConfig & config);

}  // namespace latent::networks
