#include <algorithm>
#include <cmath>

#include "core/conditioner_params.h"

namespace latent {

namespace {

constexpr int most_channels = 65536;
constexpr int norm_groups = 32;  // every group norm of the U-Nets and first stages

[[noreturn]] void fail(const std::string & what) {
    throw Error(ErrorCode::model_format, "The model specification cannot form a network: " + what);
}

void in_range(int value, int low, int high, const char * name) {
    if (value < low || value > high) {
        fail(std::string(name) + " is " + std::to_string(value) + ", outside " + std::to_string(low) + " to " +
             std::to_string(high));
    }
}

void check_channels(int base, const std::vector<int> & mult, const char * name) {
    in_range(base, norm_groups, most_channels, name);
    if (base % norm_groups != 0)
        fail(std::string(name) + " (" + std::to_string(base) + ") is not a multiple of 32, which its group norms need");
    in_range(static_cast<int>(mult.size()), 1, 10, "the number of levels in channelMult");
    for (const int m : mult) {
        in_range(m, 1, 64, "a channelMult");
        if (static_cast<int64_t>(base) * m > most_channels) fail("a level of " + std::to_string(int64_t{base} * m) + " channels");
    }
}

void check_heads(const UNetConfig & c, int level) {
    const int channels = c.model_channels * c.channel_mult[static_cast<size_t>(level)];
    const int heads = c.heads_at(level, channels);
    if (heads < 1 || channels % heads != 0) {
        fail(std::to_string(heads) + " attention heads do not divide the " + std::to_string(channels) + " channels of level " +
             std::to_string(level));
    }
}

/// By transformer_depth and attention_resolutions.
std::optional<int> level_depth(const UNetConfig & c, int level) {
    const auto & at = c.attention_resolutions;
    if (c.attention == UNetAttention::none || std::find(at.begin(), at.end(), 1 << level) == at.end()) return std::nullopt;
    if (c.attention == UNetAttention::attention_block) return 1;
    const int depth = c.depth_at(level);
    return depth > 0 ? std::optional<int>(depth) : std::nullopt;
}

std::optional<int> entry_depth(const std::vector<int> & depths, size_t entry) {
    return depths.at(entry) > 0 ? std::optional<int>(depths.at(entry)) : std::nullopt;
}

/// Whether a level's heads are used.
bool attends(const UNetConfig & c, int level) {
    if (c.has_middle_attention() && level + 1 == c.levels()) return true;
    for (int i = 0; i <= c.num_res_blocks; ++i) {
        if ((i < c.num_res_blocks && c.input_depth(level, i)) || c.output_depth(level, i)) return true;
    }
    return false;
}

void check_depths(const UNetConfig & c) {
    const size_t levels = c.channel_mult.size(), blocks = static_cast<size_t>(c.num_res_blocks);
    if (c.transformer_depth.size() != 1 && c.transformer_depth.size() != levels)
        fail("transformerDepth needs one entry, or one per level");
    if (!c.transformer_depth_input.empty() && c.transformer_depth_input.size() != levels * blocks)
        fail("transformerDepthInput needs one entry per ResBlock of the input half, " + std::to_string(levels * blocks));
    if (!c.transformer_depth_output.empty() && c.transformer_depth_output.size() != levels * (blocks + 1))
        fail("transformerDepthOutput needs one entry per ResBlock of the output half, " + std::to_string(levels * (blocks + 1)));
    for (const auto * depths : {&c.transformer_depth, &c.transformer_depth_input, &c.transformer_depth_output}) {
        for (const int depth : *depths) in_range(depth, 0, 64, "a transformer depth");
    }
    in_range(c.transformer_depth_middle, -1, 64, "transformerDepthMiddle");
}

void check_attention(const UNetConfig & c) {
    if (c.attention == UNetAttention::none) return;
    const size_t levels = c.channel_mult.size();
    in_range(c.num_head_channels, -1, most_channels, "numHeadChannels");
    if (c.num_head_channels == 0) fail("numHeadChannels is 0; -1 means that numHeads is used");
    if (!c.heads_per_level.empty() && c.heads_per_level.size() != levels) fail("headsPerLevel needs one entry per level");
    if (c.attention == UNetAttention::spatial_transformer) check_depths(c);
    for (size_t i = 0; i < levels; ++i) {
        if (!attends(c, static_cast<int>(i))) continue;
        if (c.num_head_channels > 0 && c.heads_per_level.empty() &&
            c.model_channels * c.channel_mult[i] % c.num_head_channels != 0) {
            fail("heads of " + std::to_string(c.num_head_channels) + " channels do not divide the " +
                 std::to_string(c.model_channels * c.channel_mult[i]) + " channels of level " + std::to_string(i));
        }
        check_heads(c, static_cast<int>(i));
    }
    if (c.attention != UNetAttention::spatial_transformer) return;
    in_range(c.context_dim, 1, most_channels, "contextDim");
    if (!c.disable_self_attentions.empty() && c.disable_self_attentions.size() != levels) {
        fail("disableSelfAttentions needs one entry per level");
    }
}

void check_unet(const UNetConfig & c) {
    in_range(c.in_channels, 1, 4096, "unet.inChannels");
    in_range(c.out_channels, 1, 4096, "unet.outChannels");
    if (c.in_channels < c.out_channels) fail("the U-Net has fewer input channels than output channels");
    check_channels(c.model_channels, c.channel_mult, "unet.modelChannels");
    in_range(c.num_res_blocks, 1, 16, "unet.numResBlocks");
    for (const int factor : c.attention_resolutions) in_range(factor, 1, 1 << 20, "an attentionResolution");
    if (c.middle != "full" && c.middle != "res_block" && c.middle != "none")
        fail("unet.middle is \"" + c.middle.substr(0, 80) + "\"; full, res_block and none are known");
    check_attention(c);
    if (c.class_embedding == "embedding") {
        in_range(c.class_count, 1, 1 << 24, "unet.classCount");
    } else if (c.class_embedding == "vector") {
        in_range(c.vector_dim, 1, most_channels, "unet.vectorDim");
    } else if (!c.class_embedding.empty()) {
        fail("unet.classEmbedding is \"" + c.class_embedding.substr(0, 80) + "\"; \"\", \"embedding\" and \"vector\" are known");
    }
    in_range(c.guidance_embed_dim, 0, most_channels, "unet.guidanceEmbedDim");
    if (c.guidance_embed_dim % 2 != 0) fail("unet.guidanceEmbedDim is odd");
}

void check_first_stage(const AutoencoderConfig & c) {
    if (c.kind != "kl" && c.kind != "vq" && c.kind != "tiny")
        fail("firstStage.kind is \"" + c.kind.substr(0, 80) + "\"; \"kl\", \"vq\" and \"tiny\" are known");
    if (!c.encoder && c.kind != "tiny") fail("a first stage of kind \"" + c.kind + "\" has an encoder");
    in_range(c.in_channels, 1, 4096, "firstStage.inChannels");
    in_range(c.out_channels, 1, 4096, "firstStage.outChannels");
    check_channels(c.channels, c.channel_mult, "firstStage.channels");
    in_range(c.num_res_blocks, 1, 16, "firstStage.numResBlocks");
    for (const int level : c.attention_levels)
        in_range(level, 0, static_cast<int>(c.channel_mult.size()) - 1, "an attentionLevel");
    in_range(c.z_channels, 1, 4096, "firstStage.zChannels");
    in_range(c.embed_dim, 1, 4096, "firstStage.embedDim");
    if (!c.quant_conv && c.z_channels != c.embed_dim) fail("without quant_conv, zChannels and embedDim must be equal");
    if (c.kind == "vq") in_range(c.codebook_size, 1, 1 << 24, "firstStage.codebookSize");
    if (c.kind == "kl" && !c.double_z) fail("a KL first stage needs doubleZ (means and variances)");
}

void check_clip(const ClipTextConfig & c) {
    in_range(c.hidden_size, 1, most_channels, "clip.hiddenSize");
    in_range(c.intermediate_size, 1, 1 << 20, "clip.intermediateSize");
    in_range(c.num_hidden_layers, 1, 256, "clip.numHiddenLayers");
    in_range(c.num_attention_heads, 1, most_channels, "clip.numAttentionHeads");
    if (c.hidden_size % c.num_attention_heads != 0) {
        fail(std::to_string(c.num_attention_heads) + " heads do not divide the text encoder's width " +
             std::to_string(c.hidden_size));
    }
    in_range(c.vocab_size, 1, 1 << 24, "clip.vocabSize");
    in_range(c.max_position_embeddings, 2, 4096, "clip.maxPositionEmbeddings");  // the causal mask has the square of this
    if (c.hidden_act != "quick_gelu" && c.hidden_act != "gelu") {
        fail("clip.hiddenAct is \"" + c.hidden_act.substr(0, 80) + "\"; \"quick_gelu\" and \"gelu\" are known");
    }
    if (!(c.layer_norm_eps > 0 && c.layer_norm_eps < 1)) fail("clip.layerNormEps must lie between 0 and 1");
    in_range(c.projection_dim, 0, most_channels, "clip.projectionDim");
    in_range(c.bos_token_id, 0, c.vocab_size - 1, "clip.bosTokenId");
    in_range(c.eos_token_id, 0, c.vocab_size - 1, "clip.eosTokenId");
    in_range(c.pad_token_id, 0, c.vocab_size - 1, "clip.padTokenId");
    in_range(c.skip_layers, 0, c.num_hidden_layers - 1, "clip.skipLayers");
}

void check_schedule(const NoiseSchedule & s) {
    if (s.beta_schedule != "scaled_linear" && s.beta_schedule != "linear" && s.beta_schedule != "squaredcos_cap_v2") {
        fail("schedule.betaSchedule is \"" + s.beta_schedule.substr(0, 80) +
             "\"; scaled_linear, linear and squaredcos_cap_v2 are known");
    }
    in_range(s.timesteps, 1, 100000, "schedule.timesteps");
    if (!(s.beta_start > 0 && s.beta_start <= s.beta_end && s.beta_end < 1))
        fail("betaStart and betaEnd must satisfy 0 < betaStart <= betaEnd < 1");
    if (s.edm) {
        const EdmSchedule & edm = *s.edm;
        const auto is_level = [](double sigma) { return sigma >= 1e-6 && sigma <= 1e6; };
        if (!is_level(edm.sigma_min) || !is_level(edm.sigma_max) || edm.sigma_min >= edm.sigma_max)
            fail("schedule.edm: sigmaMin must be below sigmaMax, and both between 1e-6 and 1e6");
        if (!(edm.sigma_data >= 1e-3 && edm.sigma_data <= 1e3)) fail("schedule.edm.sigmaData must lie between 1e-3 and 1e3");
    }
    if (s.betas.empty()) return;
    if (s.betas.size() != static_cast<size_t>(s.timesteps)) fail("schedule.betas needs one entry per timestep");
    for (const double beta : s.betas) {
        if (!(beta > 0 && beta <= 1)) fail("an entry of schedule.betas lies outside 0 to 1");
    }
}

/// Statistics of each latent channel, or none.
void check_latents(const ModelSpec & spec) {
    const size_t channels = static_cast<size_t>(spec.latent_channels());
    for (const std::vector<double> * each : {&spec.latents_mean, &spec.latents_std}) {
        if (each->size() != spec.latents_mean.size() || (!each->empty() && each->size() != channels))
            fail("latentsMean and latentsStd need one number for each latent channel");
    }
    for (const double mean : spec.latents_mean) {
        if (!(std::fabs(mean) < 1e6)) fail("an entry of latentsMean is out of range");
    }
    for (const double deviation : spec.latents_std) {
        if (!(deviation > 1e-6 && deviation < 1e6)) fail("an entry of latentsStd is not a positive number");
    }
}

void check_width(const ModelSpec & spec, int width) {
    if (!spec.unet || spec.unet->attention != UNetAttention::spatial_transformer || width == spec.unet->context_dim) return;
    fail("the text encoder makes tokens of width " + std::to_string(width) + ", but the U-Net's cross-attention takes " +
         std::to_string(spec.unet->context_dim) + "; these parts do not belong together");
}

/// Checks one conditioner; returns the width of the context that it makes, 0 if it makes none or gets it from outside.
int context_width(const ConditionerConfig & c, bool embeds) {
    if (c.kind == "clip_text") {
        check_clip(c.clip);
        return embeds ? c.clip.projection_dim : c.clip.hidden_size;
    }
    if (c.kind == "layout") layout_config(c.params);
    if (c.kind == "bert_text" || c.kind == "layout") return bert_config(c.params).hidden_size;
    if (c.kind == "class") return class_config(c.params).embed_dim;
    if (c.kind == "spatial_rescaler") rescaler_config(c.params);
    if (c.kind == "low_scale") low_scale_config(c.params);
    if (c.kind == "clip_vision") {
        const ClipVisionConfig vision = clip_vision_config(c.params);
        return embeds ? vision.projection_dim : 0;
    }
    return 0;
}

void check_conditioners(const ModelSpec & spec) {
    if (spec.conditioners.size() > 8) fail("more than 8 conditioners");
    static const char * const kinds[] = {"clip_text", "bert_text",   "layout",   "class",    "spatial_rescaler",
                                         "low_scale", "first_stage", "identity", "external", "clip_vision"};
    int width = 0;  // of the context made by all conditioners
    bool whole = true;
    for (const ConditionerConfig & c : spec.conditioners) {
        if (std::find(std::begin(kinds), std::end(kinds), c.kind) == std::end(kinds)) {
            fail("a conditioner has the unknown kind \"" + c.kind.substr(0, 80) + "\"");
        }
        if (c.role != "crossattn" && c.role != "concat" && c.role != "vector") {
            fail("a conditioner has the unknown role \"" + c.role.substr(0, 80) + "\"");
        }
        const int own = context_width(c, spec.kind == "rdm");
        if (c.role == "crossattn" && c.kind != "clip_vision") whole = whole && own > 0, width += own;
        if (spec.kind == "rdm" && own > 0) check_width(spec, own);
        if (c.kind == "spatial_rescaler" && spec.unet &&
            rescaler_config(c.params).out_channels != spec.unet->in_channels - spec.unet->out_channels)
            fail("the label map's channels do not match the U-Net's extra input channels");
    }
    if (spec.kind != "rdm" && whole && width > 0) check_width(spec, width);
}

/// Checks that the conditioner required by the kind of model exists, unless parts are left out (only a U-Net).
void check_kind_fits(const ModelSpec & spec) {
    const char * needed = spec.kind == "class"      ? "class"
                          : spec.kind == "layout"   ? "layout"
                          : spec.kind == "semantic" ? "spatial_rescaler"
                                                    : "";
    if (!spec.unet || !*needed) return;
    for (const ConditionerConfig & c : spec.conditioners) {
        if (c.kind == needed) return;
    }
    fail("a model of kind \"" + spec.kind + "\" needs a conditioner of kind \"" + needed + "\"");
}

void check_preview(const ModelSpec & spec) {
    const std::vector<double> & factors = spec.preview_factors;
    const size_t wanted = static_cast<size_t>(spec.latent_channels() + 1) * 3;
    if (!factors.empty() && factors.size() != wanted)
        fail("previewFactors has " + std::to_string(factors.size()) + " numbers; " + std::to_string(wanted) + " are expected");
    for (const double factor : factors) {
        if (!(std::fabs(factor) < 1e4)) fail("a number of previewFactors is out of range");
    }
}

}  // namespace

int UNetConfig::depth_at(int level) const {
    if (transformer_depth.empty()) return 1;
    return transformer_depth.size() == 1 ? transformer_depth[0] : transformer_depth.at(static_cast<size_t>(level));
}

int UNetConfig::depth_middle() const {
    return transformer_depth_middle >= 0 ? transformer_depth_middle : depth_at(levels() - 1);
}

std::optional<int> UNetConfig::input_depth(int level, int i) const {
    if (attention != UNetAttention::spatial_transformer || transformer_depth_input.empty()) return level_depth(*this, level);
    return entry_depth(transformer_depth_input, static_cast<size_t>(level * num_res_blocks + i));
}

std::optional<int> UNetConfig::output_depth(int level, int i) const {
    if (attention != UNetAttention::spatial_transformer || transformer_depth_output.empty()) return level_depth(*this, level);
    return entry_depth(transformer_depth_output, static_cast<size_t>((levels() - 1 - level) * (num_res_blocks + 1) + i));
}

bool UNetConfig::self_attends(int level) const {
    const size_t at = static_cast<size_t>(level);
    return at >= disable_self_attentions.size() || !disable_self_attentions[at];
}

int UNetConfig::heads_at(int level, int channels) const {
    if (!heads_per_level.empty()) return heads_per_level.at(static_cast<size_t>(level));
    return num_head_channels > 0 ? channels / num_head_channels : num_heads;
}

void check_kind(const std::string & kind, ErrorCode code) {
    static const char * const kinds[] = {"text",    "class", "unconditional", "layout", "semantic",   "superres",
                                         "inpaint", "edit",  "depth",         "rdm",    "autoencoder"};
    if (std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds)) return;
    std::string known;
    for (const char * one : kinds) known += (known.empty() ? "" : ", ") + std::string(one);
    throw Error(code, "The model specification has the unknown kind \"" + kind.substr(0, 80) + "\"; known are " + known,
                Json{{"field", "kind"}, {"found", kind.substr(0, 80)}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void validate(const ModelSpec & spec) {
    check_kind(spec.kind, ErrorCode::model_format);
    static const char * const keys[] = {"crossattn", "concat", "hybrid", "adm", "none"};
    if (std::find(std::begin(keys), std::end(keys), spec.conditioning_key) == std::end(keys)) {
        fail("conditioningKey is \"" + spec.conditioning_key.substr(0, 80) +
             "\"; crossattn, concat, hybrid, adm and none are known");
    }
    if (!spec.unet && !spec.first_stage && spec.conditioners.empty()) fail("it has no part");
    if (spec.unet) check_unet(*spec.unet);
    if (spec.first_stage) check_first_stage(*spec.first_stage);
    if (spec.unet && spec.first_stage && spec.unet->out_channels != spec.first_stage->embed_dim) {
        fail("the U-Net makes latents of " + std::to_string(spec.unet->out_channels) + " channels, but the first stage takes " +
             std::to_string(spec.first_stage->embed_dim) + "; these parts do not belong together");
    }
    check_conditioners(spec);
    check_kind_fits(spec);
    check_schedule(spec.schedule);
    if (spec.prediction == Prediction::edm && !spec.schedule.edm) fail("prediction edm needs schedule.edm");
    if (!(spec.scale_factor > 0 && spec.scale_factor < 1e6)) fail("scaleFactor must be a positive number");
    check_latents(spec);
    in_range(spec.image_size, 1, 1 << 16, "imageSize");
    in_range(spec.steps, 1, 100000, "steps");
    if (!(std::fabs(spec.guidance_scale) < 1e4)) fail("guidanceScale is out of range");
    if (!(spec.eta >= 0 && spec.eta <= 1)) fail("eta must lie between 0 and 1");
    check_preview(spec);
}

}  // namespace latent
