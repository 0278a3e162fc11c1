#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/json.h"
#include "core/model_spec.h"
#include "core/tensor_source.h"
#include "networks/declared.h"

namespace latent::formats {

/// A model as the caller gives it: its files, and what overrides their contents.
struct ModelParts {
    std::string model;  // a checkpoint file, or a diffusers folder; may be empty when parts are given
    std::string unet;   // separate parts, each a file or folder; they replace those of `model`
    std::string text_encoder;
    std::string vae;
    std::string image_encoder;      // CLIP's image tower, for retrieval databases
    std::string variant;            // of the weights in folders, e.g. "fp16"; a part without it uses the default one
    Json config;                    // parsed CompVis/Stability yaml, null when absent; overrides detection
    Json spec;                      // partial ModelSpec in camelCase, null when absent; overrides everything
    std::optional<bool> ema;        // read model_ema.* in place of model.*; unset: the configuration or the kind of model decides
    bool first_stage_only = false;  // read only the autoencoder
};

struct OpenedModel {
    TensorSourcePtr tensors;                     // canonical (CompVis) names; only network weights
    ModelSpec spec;                              // validated, and checked against the tensors
    networks::DeclaredNetworks networks;         // the networks of the spec; their parameters are the tensors
    std::string tokenizer;                       // tokenizer text from a GGUF file made by convert(), "" if there is none
    std::shared_ptr<const OpenedModel> preview;  // the tiny autoencoder for previews, null if there is none
    std::shared_ptr<const OpenedModel> refiner;  // the refiner model, null if there is none
    Json files = Json::object();  // about the files: { naming, sources: [..], ignored: {prefix: count}, tokenizerFolder? }
};

/// Opens a model: containers by content, key names by their tables (canonical.h), the specification from the file itself (GGUF
/// of ours), the diffusers configurations, the given `config`, and detection from names and shapes, in this order of precedence:
/// overrides, config, own metadata, diffusers configurations, detection. Reads headers and a few small tensors (betas,
/// scale_factor) only.
///
/// Errors: io, model_format (broken files, incomplete EMA weights, a configuration that contradicts the tensors),
/// unsupported_model with details {found, nearest} (recognised kinds that are not supported, models with unknown head counts and
/// similar), invalid_argument (spec overrides, ema for a file without EMA weights).
OpenedModel open_model(const ModelParts & parts);

}  // namespace latent::formats
