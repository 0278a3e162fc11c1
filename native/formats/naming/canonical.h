#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/parts.h"
#include "core/tensor_source.h"

namespace latent::formats {

// The canonical naming: U-Net under "model.diffusion_model.", first stage under "first_stage_model.", both with CompVis names;
// CLIP text towers with Hugging Face names under "cond_stage_model.transformer.text_model.", or
// "conditioner.embedders.N.transformer.text_model." where a model has two (SDXL); a CLIP image tower with Hugging Face names
// under "image_encoder."; other conditioners as CompVis has them under "cond_stage_model.".

enum class Part { whole, unet, vae, text, text_2, image };

/// An opened file or folder, and the part to take from it. A `whole` source provides every part that no other source provides.
struct PartSource {
    TensorSourcePtr source;
    Part part = Part::whole;
};

struct CanonicalOptions {
    bool use_ema = false;        // model_ema.* in place of model.*: LitEma's averages
    int attention_head_dim = 0;  // width of the heads of a diffusers UNet2DModel; decides how q, k and v are fused
};

/// Network weights under canonical names, and what else the files tell.
struct CanonicalModel {
    TensorSourcePtr tensors;
    std::string naming;  // compvis | diffusers: the naming of the U-Net, or of the first stage if there is no U-Net
    bool has_unet = false, has_stage = false;
    std::array<std::string, 2> text_prefix;           // of the CLIP towers, "" if there is none
    std::array<bool, 2> open_clip = {false, false};   // their stored names were OpenAI's or OpenCLIP's
    bool bare_clip = false;                           // from a file that contains only CLIP
    bool text_apart = false;                          // given separately by the caller, not part of the checkpoint
    bool has_image = false, open_clip_image = false;  // a CLIP image tower; its stored names were OpenAI's or OpenCLIP's
    std::vector<std::string> unknown_unet;            // names in the U-Net's part that are in no table
    int64_t ema_tensors = 0;                          // number of averaged weights, without LitEma's counters
    std::vector<std::string> without_ema;     // canonical U-Net names whose averaged copies were requested but are missing
    std::vector<double> betas;                // the training buffer, where stored
    std::vector<double> low_scale_betas;      // of the x4 upscaler's low_scale_model
    std::optional<double> scale_factor;       // the 0-dim buffer of scale_by_std models
    std::map<std::string, uint64_t> ignored;  // number of stored tensors that are not used, by the first component of the name
};

/// Maps the names of all sources. Reads headers, and the buffers `betas` and `scale_factor`. Throws model_format if tensors
/// do not fit together, unsupported_model if q, k and v must be fused and the width of the heads is unknown.
CanonicalModel canonicalise(const std::vector<PartSource> & sources, const CanonicalOptions & options = {});

}  // namespace latent::formats
