#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/json.h"
#include "core/model_spec.h"
#include "core/tensor_source.h"
#include "networks/declared.h"

namespace latent::formats {

/// What a caller knows about a model: where its files are, and what overrides what they say.
struct ModelParts {
    std::string model;  // a checkpoint file, or a diffusers folder; may be empty when parts are given
    std::string unet;   // separate parts, each a file or folder; they replace those of `model`
    std::string text_encoder;
    std::string vae;
    std::string image_encoder;      // CLIP's image tower, for retrieval databases
    std::string variant;            // of the weights in folders, e.g. "fp16"; a part that lacks it takes the usual one
    Json config;                    // parsed CompVis/Stability yaml, null when absent; decides over detection
    Json spec;                      // partial ModelSpec in camelCase, null when absent; decides over everything
    std::optional<bool> ema;        // read model_ema.* in place of model.*; unset: as the configuration or the kind of model says
    bool first_stage_only = false;  // nothing but the autoencoder is looked at
};

struct OpenedModel {
    TensorSourcePtr tensors;                     // canonical (CompVis) names; nothing but network weights
    ModelSpec spec;                              // validated, and checked against the tensors
    networks::DeclaredNetworks networks;         // those of the spec, whose parameters the tensors are
    std::string tokenizer;                       // text that convert() put into a GGUF file, "" when there is none
    std::shared_ptr<const OpenedModel> preview;  // the tiny autoencoder of its previews, null where there is none
    std::shared_ptr<const OpenedModel> refiner;  // the model that takes over from it, null where there is none
    Json files = Json::object();  // what was read: { naming, sources: [..], ignored: {prefix: count}, tokenizerFolder? }
};

/// Opens a model: containers by content, key names by their tables (canonical.h), the specification from the file itself (GGUF
/// of ours), the diffusers configurations, the given `config`, and detection from names and shapes, in this order of trust from
/// the last to the first: overrides, config, own metadata, diffusers configurations, detection. Reads headers and a few small
/// tensors (betas, scale_factor) only.
///
/// Errors: io, model_format (broken files, EMA weights that are not all there; a configuration that contradicts the tensors),
/// unsupported_model with details {found, nearest} (recognised kinds that do not run here, models whose head counts and such
/// nobody told), invalid_argument (spec overrides, EMA weights of a file that has none).
OpenedModel open_model(const ModelParts & parts);

}  // namespace latent::formats
