#pragma once

#include <set>
#include <string>

#include "core/conditioner_params.h"
#include "core/model_spec.h"
#include "formats/naming/canonical.h"

namespace latent::formats {

/// What names and shapes tell, and what they do not.
struct Detection {
    ModelSpec spec;
    /// JSON pointers into the specification ("/unet/numHeads") of values that neither weights nor tables tell. A configuration or
    /// an override has to give them; otherwise require_known() rejects the model, because a guess could silently produce wrong
    /// images.
    std::set<std::string> unknown;
    /// The weights were trained with this head count, although the public yaml has another.
    bool heads_are_certain = false;
};

/// Throws unsupported_model with details {found, nearest} for other kinds of files, recognised by their tensor names: SD 3, Flux,
/// LoRA, ControlNet, unCLIP ...
void refuse_other_kinds(const TensorSource & stored);

/// Makes a specification from canonical names and shapes, completed by the tables of public models (docs/models.md).
Detection detect(const CanonicalModel & model);

// Its parts. Each throws model_format or unsupported_model if the tensors do not form such a network.
UNetConfig detect_unet(const TensorSource & tensors);
AutoencoderConfig detect_first_stage(const TensorSource & tensors);
ClipTextConfig detect_clip_text(const TensorSource & tensors, const std::string & prefix);
ClipVisionConfig detect_clip_vision(const TensorSource & tensors, const std::string & prefix);
BertConfig detect_bert(const TensorSource & tensors, const std::string & prefix);
/// Total width of its heads, numHeads * headDim.
int bert_inner_width(const TensorSource & tensors, const std::string & prefix);
ClassConfig detect_classes(const TensorSource & tensors, const std::string & prefix);
RescalerConfig detect_rescaler(const TensorSource & tensors, const std::string & prefix);

/// Completes found.spec.unet from the tables of public models; false if it is in none.
bool apply_known_model(Detection & found, const CanonicalModel & model);
/// Adds the conditioners of the model, including those without tensors.
void detect_conditioners(const CanonicalModel & model, Detection & found);
/// Derives start, end and form from the training buffer of betas; a table of another form is kept as a table. Ignores anything
/// else.
void use_betas(NoiseSchedule & schedule, const std::vector<double> & betas);

/// Drops from `unknown` what `overrides` (a partial spec) sets, then throws unsupported_model naming what is left.
void require_known(const Detection & detection, const Json & overrides, const std::string & file);

/// Fills sampler, steps, guidance scale, eta and the kind-dependent rest with the defaults of the reference scripts.
void apply_kind_defaults(ModelSpec & spec);
/// Those of a model with EDM's prediction or schedule, which it completes: defaults that run on continuous noise levels.
/// Playground v2.5 is the one known model of SDXL's architecture.
void apply_edm_defaults(ModelSpec & spec);

}  // namespace latent::formats
