#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"

namespace latent {

// A model as data: everything about it that is not in the weights. Made by formats/detect from tensor names, shapes and
// configuration files, overridable field by field, and used everywhere else. Only plain values.

/// What a network's output stands for. edm: of a network with the preconditioning of Karras et al. 2022, section 5.
enum class Prediction { eps, v, sample, edm };

/// Training on continuous noise levels (Karras et al. 2022): the network's time is ln(sigma) / 4.
struct EdmSchedule {
    double sigma_min = 0.002, sigma_max = 80;
    double sigma_data = 0.5;  // standard deviation of the data
};

/// Training noise schedule (make_beta_schedule of diffusionmodules/util.py). `betas` overrides the named form if not empty.
struct NoiseSchedule {
    std::string beta_schedule = "scaled_linear";  // scaled_linear | linear | squaredcos_cap_v2
    double beta_start = 0.00085;                  // linear_start in CompVis' configurations
    double beta_end = 0.012;
    int timesteps = 1000;
    bool zero_terminal_snr = false;
    std::vector<double> betas;
    std::optional<EdmSchedule> edm;  // replaces all these timesteps
};

enum class UNetAttention { none, attention_block, spatial_transformer };

/// openaimodel.UNetModel: one struct for every U-Net of the paper and its descendants.
struct UNetConfig {
    int in_channels = 4;
    int out_channels = 4;
    int model_channels = 320;
    std::vector<int> channel_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    std::vector<int> attention_resolutions = {4, 2, 1};  // downsampling factors, not pixels
    UNetAttention attention = UNetAttention::spatial_transformer;
    int num_heads = 8;                         // used if num_head_channels is -1
    int num_head_channels = -1;                // fixed head width if > 0
    std::vector<int> heads_per_level;          // overrides both if not empty (one per level, as in diffusers configs)
    std::vector<int> transformer_depth = {1};  // one per level, or one for all
    int transformer_depth_middle = -1;         // -1: that of the last level
    /// For networks whose entries differ within a level (distilled ones): the depth of every entry of input_blocks and
    /// output_blocks in order, without resampling and the first convolution; 0 is an entry without attention. If not empty, they
    /// replace transformer_depth and attention_resolutions.
    std::vector<int> transformer_depth_input, transformer_depth_output;
    std::string middle = "full";  // full (ResBlock, attention, ResBlock) | res_block (only the first) | none
    int context_dim = 768;
    bool use_linear_in_transformer = false;
    bool scale_shift_norm = false;  // use_scale_shift_norm
    bool resblock_updown = false;
    bool conv_resample = true;
    std::vector<bool> disable_self_attentions;  // per level, empty: none
    bool disable_middle_self_attention = false;
    std::string class_embedding;  // "" | "embedding" (label_emb.weight) | "vector" (label_emb.0.*)
    int class_count = 0;          // rows of label_emb.weight
    int vector_dim = 0;           // adm_in_channels of the "vector" form
    int guidance_embed_dim = 0;   // time_embedding.cond_proj (LCM), 0: absent

    int levels() const { return static_cast<int>(channel_mult.size()); }
    bool has_middle_attention() const { return middle == "full" && attention != UNetAttention::none; }
    int depth_at(int level) const;
    int depth_middle() const;
    /// Number of transformer blocks in the attention of the `i`-th entry of a level, in the down and up path; 1 for an
    /// AttentionBlock; nullopt if the entry has no attention.
    std::optional<int> input_depth(int level, int i) const;
    std::optional<int> output_depth(int level, int i) const;
    /// False if the first attention of a level's transformer blocks reads the context too.
    bool self_attends(int level) const;
    int heads_at(int level, int channels) const;
    int downsampling() const { return 1 << (levels() - 1); }
    /// Latent sides must be multiples of this. If levels are resampled by convolutions, any size works: the upsampled map is
    /// cropped to its skip connection (as in diffusers). Average pooling drops odd rows and columns.
    int size_multiple() const { return resblock_updown || !conv_resample ? downsampling() : 1; }
};

/// First stages: KL and VQ (AutoencoderKL, VQModelInterface), and the tiny autoencoder (TAESD).
struct AutoencoderConfig {
    std::string kind = "kl";  // kl | vq | tiny
    int in_channels = 3;
    int out_channels = 3;
    int channels = 128;  // ddconfig.ch
    std::vector<int> channel_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    std::vector<int> attention_levels;  // encoder/decoder levels with attention, besides the middle
    bool middle_attention = true;       // false: attn_type none
    bool double_z = true;
    int z_channels = 4;
    int embed_dim = 4;
    int codebook_size = 0;   // n_embed of VQ
    bool quant_conv = true;  // false if the checkpoint has neither quant_conv nor post_quant_conv
    bool encoder = true;     // false: only a decoder (tiny)

    int downsampling() const { return 1 << (static_cast<int>(channel_mult.size()) - 1); }
};

/// A CLIP text tower, with the names of transformers' CLIPTextConfig.
struct ClipTextConfig {
    int hidden_size = 768;
    int intermediate_size = 3072;
    int num_hidden_layers = 12;
    int num_attention_heads = 12;
    int vocab_size = 49408;
    int max_position_embeddings = 77;
    std::string hidden_act = "quick_gelu";  // quick_gelu | gelu (erf)
    double layer_norm_eps = 1e-5;
    int projection_dim = 0;  // 0: no text_projection
    int bos_token_id = 49406;
    int eos_token_id = 49407;
    int pad_token_id = 49407;  // 0 for OpenCLIP towers in CompVis-style code
    int skip_layers = 0;       // 1: the penultimate layer is the context (SD 2, SDXL)
    bool final_norm = true;    // final_layer_norm applied to the context
};

/// One conditioner of the model: its kind, and where its tensors are in the canonical (CompVis) naming.
struct ConditionerConfig {
    std::string kind;    // clip_text | bert_text | layout | class | spatial_rescaler | low_scale | first_stage | identity |
                         // external | clip_vision
    std::string prefix;  // canonical key prefix, e.g. "cond_stage_model.transformer.text_model."
    std::string role = "crossattn";  // crossattn | concat | vector
    ClipTextConfig clip;             // for clip_text
    Json params = Json::object();    // for the other kinds: core/conditioner_params.h
};

struct ModelSpec {
    std::string kind = "text";  // text, class, unconditional, layout, semantic, superres, inpaint, edit, depth, rdm or
                                // autoencoder
    std::string name;           // human name of the nearest known model, e.g. "Stable Diffusion 1.x"
    std::string family;         // sd1 | sd2 | sdxl | ldm | autoencoder
    std::string naming;         // naming of the stored tensors: compvis | diffusers | gguf (a file made by convert())
    std::string conditioning_key = "crossattn";  // crossattn | concat | hybrid | adm | none
    Prediction prediction = Prediction::eps;
    NoiseSchedule schedule;
    double scale_factor = 0.18215;
    /// Per channel, of the first stage's codes z: latents are (z - mean) * scale_factor / std. Empty: z * scale_factor.
    std::vector<double> latents_mean, latents_std;
    int image_size = 512;  // training size in pixels
    bool use_ema = false;  // read model_ema.* weights instead of model.*
    std::optional<UNetConfig> unet;
    std::optional<AutoencoderConfig> first_stage;
    std::vector<ConditionerConfig> conditioners;
    // Defaults of the reference script
    std::string sampler = "ddim";
    std::string sampling_schedule;           // of `sampler`; "": its default
    std::vector<double> sampling_timesteps;  // of `sampler`, instead of a schedule; empty: none
    int steps = 50;
    double guidance_scale = 7.5;
    double eta = 0.0;
    /// Linear previews: [latent channels + 1, 3], the contribution of each channel to red, green and blue (-1..1), then the bias.
    /// Empty: the family's default.
    std::vector<double> preview_factors;

    int downsampling() const { return first_stage ? first_stage->downsampling() : 1; }
    int latent_channels() const { return first_stage ? first_stage->embed_dim : (unet ? unet->out_channels : 0); }
};

/// The scale factor of the first stage of a model's family, whatever this model's own is: 0.13025 for SDXL, else 0.18215.
double family_scale_factor(const ModelSpec & spec);

const char * prediction_name(Prediction prediction);
Prediction prediction_from_name(const std::string & name);  // epsilon | eps | v_prediction | v | sample | edm

/// camelCase JSON, as in TypeScript and in GGUF files (key "latent.spec").
Json to_json(const ModelSpec & spec);
ModelSpec spec_from_json(const Json & json);
/// Applies the caller's partial spec: nested objects merge, arrays replace. Unknown names throw invalid_argument.
void apply_overrides(ModelSpec & spec, const Json & overrides);
/// Throws `code` if `kind` is not a valid kind of model.
void check_kind(const std::string & kind, ErrorCode code);
/// Throws model_format if the fields cannot form a network (zero channels, heads that do not divide, absurd sizes).
void validate(const ModelSpec & spec);

}  // namespace latent
