#pragma once

#include <set>
#include <string>

#include "core/conditioner_params.h"
#include "core/model_spec.h"
#include "formats/naming/canonical.h"

namespace latent::formats {

/// What names and shapes say, and what they do not.
struct Detection {
    ModelSpec spec;
    /// JSON pointers into the specification ("/unet/numHeads") of what neither weights nor tables tell. A configuration or an
    /// override has to; require_known() refuses the model otherwise, since a guess would silently give wrong pictures.
    std::set<std::string> unknown;
    /// The public yaml says otherwise but the weights were trained with this head count.
    bool heads_are_certain = false;
};

/// Throws unsupported_model with details {found, nearest} for files of other kinds, told by their tensor names: SD 3, Flux,
/// LoRA, ControlNet, unCLIP ...
void refuse_other_kinds(const TensorSource & stored);

/// A specification from canonical names and shapes, completed by what is known of the public models (docs/models.md).
Detection detect(const CanonicalModel & model);

// Its parts. Each throws model_format or unsupported_model where the tensors do not form such a network.
UNetConfig detect_unet(const TensorSource & tensors);
AutoencoderConfig detect_first_stage(const TensorSource & tensors);
ClipTextConfig detect_clip_text(const TensorSource & tensors, const std::string & prefix);
ClipVisionConfig detect_clip_vision(const TensorSource & tensors, const std::string & prefix);
BertConfig detect_bert(const TensorSource & tensors, const std::string & prefix);
/// Width of its heads together: what numHeads * headDim must come to.
int bert_inner_width(const TensorSource & tensors, const std::string & prefix);
ClassConfig detect_classes(const TensorSource & tensors, const std::string & prefix);
RescalerConfig detect_rescaler(const TensorSource & tensors, const std::string & prefix);

/// Fills in what the tables of public models say about found.spec.unet; false where none knows it.
bool apply_known_model(Detection & found, const CanonicalModel & model);
/// Adds the conditioners of the model, those without tensors included.
void detect_conditioners(const CanonicalModel & model, Detection & found);
/// The training buffer says start, end and form exactly; a table of neither form is kept as it is. Ignores what is no table.
void use_betas(NoiseSchedule & schedule, const std::vector<double> & betas);

/// Drops from `unknown` what `overrides` (a partial spec) sets, then throws unsupported_model naming what is left.
void require_known(const Detection & detection, const Json & overrides, const std::string & file);

/// Fills sampler, steps, guidance scale, eta and the kind-dependent rest with the defaults of the reference scripts.
void apply_kind_defaults(ModelSpec & spec);

}  // namespace latent::formats
