#pragma once

#include "core/model_spec.h"

namespace latent {

// ConditionerConfig.params as typed values, one struct per kind. Each reader throws model_format if a field is missing, has
// the wrong type or cannot form a network.

/// "bert_text" and "layout": ldm.modules.encoders.modules.BERTEmbedder and TransformerEmbedder.
struct BertConfig {
    int vocab_size = 30522;
    int hidden_size = 1280;
    int num_layers = 32;
    int max_length = 77;
    int num_heads = 8;  // total width numHeads * headDim, independent of the model's width
    int head_dim = 64;
    int intermediate_size = 5120;
};

/// Additional fields of "layout": how boxes become tokens. Used in TypeScript; only checked here.
struct LayoutConfig {
    int classes = 340;            // Open Images
    bool group_flag = true;       // use_group_parameter
    bool attribute_flags = true;  // use_additional_parameters
};

/// "class": ldm.modules.encoders.modules.ClassEmbedder.
struct ClassConfig {
    int classes = 1000;  // rows of the table, including the null class
    int embed_dim = 512;
    int null_class = -1;  // the unconditional input of guidance, -1: none
};

/// "spatial_rescaler": ldm.modules.encoders.modules.SpatialRescaler over a one-hot label map.
struct RescalerConfig {
    int classes = 182;
    int out_channels = 3;
    int stages = 2;  // number of times that the sides are halved
    bool bias = false;
};

/// "clip_vision": transformers CLIPVisionModelWithProjection.
struct ClipVisionConfig {
    int hidden_size = 1024;
    int intermediate_size = 4096;
    int num_hidden_layers = 24;
    int num_attention_heads = 16;
    int image_size = 224;
    int patch_size = 14;
    int num_channels = 3;
    int projection_dim = 768;
    std::string hidden_act = "quick_gelu";  // quick_gelu | gelu (erf)
    double layer_norm_eps = 1e-5;

    int patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

/// "low_scale": the noise added to the low-resolution image of the x4 upscaler, ImageConcatWithNoiseAugmentation.
struct LowScaleConfig {
    NoiseSchedule schedule;
    int max_noise_level = 350;
    int noise_level = 20;  // default; the caller may set another
};

BertConfig bert_config(const Json & params);
LayoutConfig layout_config(const Json & params);
ClassConfig class_config(const Json & params);
RescalerConfig rescaler_config(const Json & params);
ClipVisionConfig clip_vision_config(const Json & params);
LowScaleConfig low_scale_config(const Json & params);

Json to_json(const BertConfig & config);
Json to_json(const LayoutConfig & config);
Json to_json(const ClassConfig & config);
Json to_json(const RescalerConfig & config);
Json to_json(const ClipVisionConfig & config);
Json to_json(const LowScaleConfig & config);

}  // namespace latent
