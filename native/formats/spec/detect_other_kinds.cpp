#include <algorithm>

#include "formats/spec/detect.h"

namespace latent::formats {

namespace {

/// A kind of file that is recognised by part of a tensor name.
struct OtherKind {
    const char * marker;
    enum { anywhere, at_start, exactly } how;
    const char * found;
    const char * nearest;
};

constexpr OtherKind kinds[] = {
    {"joint_blocks.", OtherKind::anywhere, "Stable Diffusion 3 (a diffusion transformer)", "Stable Diffusion 1.x"},
    {"double_blocks.", OtherKind::anywhere, "Flux (a diffusion transformer)", "Stable Diffusion 1.x"},
    {"single_transformer_blocks.", OtherKind::anywhere, "Flux in diffusers' layout (a diffusion transformer)",
     "Stable Diffusion 1.x"},
    {"attn.add_q_proj.", OtherKind::anywhere, "a diffusion transformer (SD3 or Flux family)", "Stable Diffusion 1.x"},
    {"adaln_single.", OtherKind::anywhere, "PixArt or another diffusion transformer", "Stable Diffusion 1.x"},
    {".y_embedder.y_embedding", OtherKind::anywhere, "PixArt or another diffusion transformer", "Stable Diffusion 1.x"},
    {"lora_unet_", OtherKind::at_start, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {"lora_te", OtherKind::at_start, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {".lora_down.weight", OtherKind::anywhere, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {".lora_A.weight", OtherKind::anywhere, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {"_lora.down.weight", OtherKind::anywhere, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {".lora.down.weight", OtherKind::anywhere, "a LoRA, which goes on top of a model", "Stable Diffusion 1.x"},
    {".hada_w1_a", OtherKind::anywhere, "a LoHa, which goes on top of a model", "Stable Diffusion 1.x"},
    {".lokr_w1", OtherKind::anywhere, "a LoKr, which goes on top of a model", "Stable Diffusion 1.x"},
    {"control_model.", OtherKind::at_start, "a ControlNet, which goes on top of a model", "Stable Diffusion 1.x"},
    {"input_hint_block.", OtherKind::at_start, "a ControlNet, which goes on top of a model", "Stable Diffusion 1.x"},
    {"controlnet_cond_embedding.", OtherKind::at_start, "a ControlNet, which goes on top of a model", "Stable Diffusion 1.x"},
    {"ip_adapter.", OtherKind::at_start, "an IP-Adapter, which goes on top of a model", "Stable Diffusion 1.x"},
    {"image_proj.", OtherKind::at_start, "an IP-Adapter, which goes on top of a model", "Stable Diffusion 1.x"},
    {"adapter.body.", OtherKind::at_start, "a T2I-Adapter, which goes on top of a model", "Stable Diffusion 1.x"},
    {"body.0.block1.", OtherKind::at_start, "a T2I-Adapter, which goes on top of a model", "Stable Diffusion 1.x"},
    {"body.0.in_conv.", OtherKind::at_start, "a T2I-Adapter, which goes on top of a model", "Stable Diffusion 1.x"},
    {"emb_params", OtherKind::exactly, "a textual inversion, which goes on top of a model", "Stable Diffusion 1.x"},
    {"string_to_param", OtherKind::at_start, "a textual inversion, which goes on top of a model", "Stable Diffusion 1.x"},
    {"noise_augmentor.", OtherKind::at_start, "Stable unCLIP", "Stable Diffusion 2.x"},
    {"motion_modules.", OtherKind::anywhere, "a motion module or video model", "Stable Diffusion 1.x"},
    {".time_stack.", OtherKind::anywhere, "Stable Video Diffusion", "Stable Diffusion 2.x"},
    {"temporal_transformer", OtherKind::anywhere, "a video model", "Stable Diffusion 1.x"},
    {"encoder_hid_proj.", OtherKind::anywhere, "a U-Net with an image projection (Kandinsky or alike)", "Stable Diffusion 1.x"},
    {"effnet.", OtherKind::at_start, "Stable Cascade", "SDXL"},
    {"conv_body.", OtherKind::at_start, "an ESRGAN upscaler", "latent super-resolution"},
    {"model.1.sub.", OtherKind::at_start, "an ESRGAN upscaler", "latent super-resolution"},
    {"RRDB_trunk.", OtherKind::at_start, "an ESRGAN upscaler", "latent super-resolution"},
    {"encoder.block.0.layer.", OtherKind::anywhere, "a T5 text encoder", "CLIP ViT-L/14"},
    {"vision_model.embeddings.", OtherKind::at_start, "a CLIP image encoder", "CLIP ViT-L/14 text encoder"},
};

bool matches(const OtherKind & kind, const std::string & name) {
    const size_t at = name.find(kind.marker);
    if (kind.how == OtherKind::exactly) return name == kind.marker;
    return kind.how == OtherKind::at_start ? at == 0 : at != std::string::npos;
}

}  // namespace

void refuse_other_kinds(const TensorSource & stored) {
    // A checkpoint may contain extras (a text encoder with its vision tower); its U-Net or first stage takes precedence.
    const bool model = stored.has("model.diffusion_model.input_blocks.0.0.weight") || stored.has("input_blocks.0.0.weight") ||
                       stored.has("first_stage_model.encoder.conv_in.weight") || stored.has("encoder.conv_in.weight") ||
                       stored.has("text_model.embeddings.token_embedding.weight");
    const auto refuse = [&](const std::string & found, const std::string & nearest) {
        throw Error(ErrorCode::unsupported_model,
                    stored.name() + " is " + found + ", which this engine does not load as a model; nearest: " + nearest,
                    Json{{"found", found}, {"nearest", nearest}}.dump());
    };
    for (const OtherKind & kind : kinds) {
        const std::string marker = kind.marker;
        const bool inside_models = marker == "noise_augmentor." || marker == ".time_stack." || marker == "motion_modules." ||
                                   marker == "temporal_transformer" || marker == "control_model.";
        if (model && !inside_models) continue;
        for (const TensorInfo & tensor : stored.tensors()) {
            if (matches(kind, tensor.name)) refuse(kind.found, kind.nearest);
        }
    }
}

}  // namespace latent::formats
