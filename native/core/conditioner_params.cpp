#include "core/conditioner_params.h"

#include <algorithm>
#include <cmath>

namespace latent {

namespace {

constexpr int widest = 65536;
constexpr int most_rows = 1 << 24;

/// Reads the fields of one conditioner; each has a range.
class Fields {
public:
    Fields(const Json & params, const char * kind) : params_(params), kind_(kind) {
        if (!params.is_object()) fail("it is not an object");
    }

    [[noreturn]] void fail(const std::string & why) const {
        throw Error(ErrorCode::model_format,
                    std::string("The parameters of the conditioner \"") + kind_ + "\" cannot form a network: " + why);
    }

    double number(const char * name) const {
        const auto found = params_.find(name);
        if (found == params_.end()) fail(std::string(name) + " is missing");
        if (!found->is_number() || !std::isfinite(found->get<double>())) fail(std::string(name) + " must be a number");
        return found->get<double>();
    }
    double number(const char * name, double fallback) const { return params_.contains(name) ? number(name) : fallback; }

    int integer(const char * name, int low, int high) const {
        const double value = number(name);
        if (value != std::floor(value) || value < low || value > high) {
            fail(std::string(name) + " must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
        }
        return static_cast<int>(value);
    }
    int integer(const char * name, int low, int high, int fallback) const {
        return params_.contains(name) ? integer(name, low, high) : fallback;
    }

    bool flag(const char * name, bool fallback) const {
        const auto found = params_.find(name);
        if (found == params_.end()) return fallback;
        if (!found->is_boolean()) fail(std::string(name) + " must be true or false");
        return found->get<bool>();
    }

    std::string text(const char * name, const std::string & fallback) const {
        const auto found = params_.find(name);
        if (found == params_.end()) return fallback;
        if (!found->is_string()) fail(std::string(name) + " must be a string");
        return found->get<std::string>();
    }

private:
    const Json & params_;
    const char * kind_;
};

}  // namespace

BertConfig bert_config(const Json & params) {
    const Fields fields(params, "bert_text");
    BertConfig c;
    c.vocab_size = fields.integer("vocabSize", 1, most_rows);
    c.hidden_size = fields.integer("hiddenSize", 1, widest);
    c.num_layers = fields.integer("numLayers", 1, 256);
    c.max_length = fields.integer("maxLength", 1, 4096);
    c.num_heads = fields.integer("numHeads", 1, 1024, c.num_heads);
    c.head_dim = fields.integer("headDim", 1, 4096, c.head_dim);
    c.intermediate_size = fields.integer("intermediateSize", 1, 1 << 20, static_cast<int>(4 * int64_t{c.hidden_size}));
    return c;
}

LayoutConfig layout_config(const Json & params) {
    const Fields fields(params, "layout");
    LayoutConfig c;
    c.classes = fields.integer("classes", 1, 1 << 20, c.classes);
    c.group_flag = fields.flag("groupFlag", c.group_flag);
    c.attribute_flags = fields.flag("attributeFlags", c.attribute_flags);
    return c;
}

ClassConfig class_config(const Json & params) {
    const Fields fields(params, "class");
    ClassConfig c;
    c.classes = fields.integer("classes", 1, most_rows);
    c.embed_dim = fields.integer("embedDim", 1, widest);
    c.null_class = fields.integer("nullClass", 0, c.classes - 1, -1);
    return c;
}

RescalerConfig rescaler_config(const Json & params) {
    const Fields fields(params, "spatial_rescaler");
    RescalerConfig c;
    c.classes = fields.integer("classes", 1, widest);
    c.out_channels = fields.integer("outChannels", 1, 4096);
    c.stages = fields.integer("stages", 0, 10);
    c.bias = fields.flag("bias", false);
    return c;
}

ClipVisionConfig clip_vision_config(const Json & params) {
    const Fields fields(params, "clip_vision");
    ClipVisionConfig c;
    c.hidden_size = fields.integer("hiddenSize", 1, widest);
    c.intermediate_size = fields.integer("intermediateSize", 1, 1 << 20);
    c.num_hidden_layers = fields.integer("numHiddenLayers", 1, 256);
    c.num_attention_heads = fields.integer("numAttentionHeads", 1, widest);
    c.image_size = fields.integer("imageSize", 1, 4096);
    c.patch_size = fields.integer("patchSize", 1, 4096);
    c.num_channels = fields.integer("numChannels", 1, 64, 3);
    c.projection_dim = fields.integer("projectionDim", 1, widest);
    c.hidden_act = fields.text("hiddenAct", c.hidden_act);
    c.layer_norm_eps = fields.number("layerNormEps", 1e-5);
    if (c.hidden_size % c.num_attention_heads != 0) fields.fail("numAttentionHeads does not divide hiddenSize");
    if (c.image_size % c.patch_size != 0) fields.fail("patchSize does not divide imageSize");
    if (c.patches() > 1 << 16) fields.fail("an image has more than 65536 patches");
    if (c.hidden_act != "quick_gelu" && c.hidden_act != "gelu") fields.fail("hiddenAct must be \"quick_gelu\" or \"gelu\"");
    if (!(c.layer_norm_eps > 0 && c.layer_norm_eps < 1)) fields.fail("layerNormEps must lie between 0 and 1");
    return c;
}

LowScaleConfig low_scale_config(const Json & params) {
    const Fields fields(params, "low_scale");
    LowScaleConfig c;
    c.schedule.beta_schedule = fields.text("betaSchedule", c.schedule.beta_schedule);
    c.schedule.beta_start = fields.number("betaStart");
    c.schedule.beta_end = fields.number("betaEnd");
    c.schedule.timesteps = fields.integer("timesteps", 1, 100000);
    if (params.contains("betas")) {
        const Json & betas = params.at("betas");
        if (!betas.is_array() || betas.size() != static_cast<size_t>(c.schedule.timesteps))
            fields.fail("betas needs one entry per timestep");
        for (const Json & beta : betas) {
            if (!beta.is_number() || !(beta.get<double>() > 0 && beta.get<double>() <= 1))
                fields.fail("an entry of betas lies outside 0 to 1");
            c.schedule.betas.push_back(beta.get<double>());
        }
    }
    c.max_noise_level = fields.integer("maxNoiseLevel", 0, c.schedule.timesteps - 1);
    c.noise_level = fields.integer("noiseLevel", 0, c.max_noise_level, std::min(20, c.max_noise_level));
    const std::string & form = c.schedule.beta_schedule;
    if (form != "scaled_linear" && form != "linear" && form != "squaredcos_cap_v2") fields.fail("betaSchedule is unknown");
    if (!(c.schedule.beta_start > 0 && c.schedule.beta_start <= c.schedule.beta_end && c.schedule.beta_end < 1))
        fields.fail("betaStart and betaEnd must satisfy 0 < betaStart <= betaEnd < 1");
    return c;
}

Json to_json(const BertConfig & c) {
    return {{"vocabSize", c.vocab_size},
            {"hiddenSize", c.hidden_size},
            {"numLayers", c.num_layers},
            {"maxLength", c.max_length},
            {"numHeads", c.num_heads},
            {"headDim", c.head_dim},
            {"intermediateSize", c.intermediate_size}};
}

Json to_json(const LayoutConfig & c) {
    return {{"classes", c.classes}, {"groupFlag", c.group_flag}, {"attributeFlags", c.attribute_flags}};
}

Json to_json(const ClassConfig & c) {
    Json params = {{"classes", c.classes}, {"embedDim", c.embed_dim}};
    if (c.null_class >= 0) params["nullClass"] = c.null_class;
    return params;
}

Json to_json(const RescalerConfig & c) {
    return {{"classes", c.classes}, {"outChannels", c.out_channels}, {"stages", c.stages}, {"bias", c.bias}};
}

Json to_json(const ClipVisionConfig & c) {
    return {{"hiddenSize", c.hidden_size},
            {"intermediateSize", c.intermediate_size},
            {"numHiddenLayers", c.num_hidden_layers},
            {"numAttentionHeads", c.num_attention_heads},
            {"imageSize", c.image_size},
            {"patchSize", c.patch_size},
            {"numChannels", c.num_channels},
            {"projectionDim", c.projection_dim},
            {"hiddenAct", c.hidden_act},
            {"layerNormEps", c.layer_norm_eps}};
}

Json to_json(const LowScaleConfig & c) {
    Json params = {{"betaSchedule", c.schedule.beta_schedule}, {"betaStart", c.schedule.beta_start},
                   {"betaEnd", c.schedule.beta_end},           {"timesteps", c.schedule.timesteps},
                   {"maxNoiseLevel", c.max_noise_level},       {"noiseLevel", c.noise_level}};
    if (!c.schedule.betas.empty()) params["betas"] = c.schedule.betas;
    return params;
}

}  // namespace latent
