#include "core/model_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace latent {

namespace {

// ---- the fields of every struct: JSON reader, writer and overrides all use these lists ----------------

template <typename V>
void visit(V & v, EdmSchedule & s) {
    v("sigmaMin", s.sigma_min);
    v("sigmaMax", s.sigma_max);
    v("sigmaData", s.sigma_data);
}

template <typename V>
void visit(V & v, NoiseSchedule & s) {
    v("betaSchedule", s.beta_schedule);
    v("betaStart", s.beta_start);
    v("betaEnd", s.beta_end);
    v("timesteps", s.timesteps);
    v("zeroTerminalSnr", s.zero_terminal_snr);
    v("betas", s.betas);
    v("edm", s.edm);
}

template <typename V>
void visit(V & v, UNetConfig & c) {
    v("inChannels", c.in_channels);
    v("outChannels", c.out_channels);
    v("modelChannels", c.model_channels);
    v("channelMult", c.channel_mult);
    v("numResBlocks", c.num_res_blocks);
    v("attentionResolutions", c.attention_resolutions);
    v("attention", c.attention);
    v("numHeads", c.num_heads);
    v("numHeadChannels", c.num_head_channels);
    v("headsPerLevel", c.heads_per_level);
    v("transformerDepth", c.transformer_depth);
    v("transformerDepthMiddle", c.transformer_depth_middle);
    v("transformerDepthInput", c.transformer_depth_input);
    v("transformerDepthOutput", c.transformer_depth_output);
    v("middle", c.middle);
    v("contextDim", c.context_dim);
    v("useLinearInTransformer", c.use_linear_in_transformer);
    v("scaleShiftNorm", c.scale_shift_norm);
    v("resblockUpdown", c.resblock_updown);
    v("convResample", c.conv_resample);
    v("disableSelfAttentions", c.disable_self_attentions);
    v("disableMiddleSelfAttention", c.disable_middle_self_attention);
    v("classEmbedding", c.class_embedding);
    v("classCount", c.class_count);
    v("vectorDim", c.vector_dim);
    v("guidanceEmbedDim", c.guidance_embed_dim);
}

template <typename V>
void visit(V & v, AutoencoderConfig & c) {
    v("kind", c.kind);
    v("inChannels", c.in_channels);
    v("outChannels", c.out_channels);
    v("channels", c.channels);
    v("channelMult", c.channel_mult);
    v("numResBlocks", c.num_res_blocks);
    v("attentionLevels", c.attention_levels);
    v("middleAttention", c.middle_attention);
    v("doubleZ", c.double_z);
    v("zChannels", c.z_channels);
    v("embedDim", c.embed_dim);
    v("codebookSize", c.codebook_size);
    v("quantConv", c.quant_conv);
    v("encoder", c.encoder);
}

template <typename V>
void visit(V & v, ClipTextConfig & c) {
    v("hiddenSize", c.hidden_size);
    v("intermediateSize", c.intermediate_size);
    v("numHiddenLayers", c.num_hidden_layers);
    v("numAttentionHeads", c.num_attention_heads);
    v("vocabSize", c.vocab_size);
    v("maxPositionEmbeddings", c.max_position_embeddings);
    v("hiddenAct", c.hidden_act);
    v("layerNormEps", c.layer_norm_eps);
    v("projectionDim", c.projection_dim);
    v("bosTokenId", c.bos_token_id);
    v("eosTokenId", c.eos_token_id);
    v("padTokenId", c.pad_token_id);
    v("skipLayers", c.skip_layers);
    v("finalNorm", c.final_norm);
}

template <typename V>
void visit(V & v, ConditionerConfig & c) {
    v("kind", c.kind);
    v("prefix", c.prefix);
    v.retired("input");  // in models converted by earlier versions
    v("role", c.role);
    v("clip", c.clip);
    v("params", c.params);
}

template <typename V>
void visit(V & v, ModelSpec & s) {
    v("kind", s.kind);
    v("name", s.name);
    v("family", s.family);
    v("naming", s.naming);
    v.retired("layout");  // the name of `naming` in models converted by earlier versions
    v("conditioningKey", s.conditioning_key);
    v("prediction", s.prediction);
    v("schedule", s.schedule);
    v("scaleFactor", s.scale_factor);
    v("latentsMean", s.latents_mean);
    v("latentsStd", s.latents_std);
    v("imageSize", s.image_size);
    v("useEma", s.use_ema);
    v("unet", s.unet);
    v("firstStage", s.first_stage);
    v("conditioners", s.conditioners);
    v("sampler", s.sampler);
    v("samplingSchedule", s.sampling_schedule);
    v("samplingTimesteps", s.sampling_timesteps);
    v("steps", s.steps);
    v("guidanceScale", s.guidance_scale);
    v("eta", s.eta);
    v("previewFactors", s.preview_factors);
}

constexpr const char * attention_names[] = {"none", "attention_block", "spatial_transformer"};

// ---- writing -------------------------------------------------------------------------------------------------------------

class Writer {
public:
    Json out = Json::object();

    template <typename T>
    void operator()(const char * name, T & value) {
        out[name] = json_of(value);
    }

    void retired(const char *) {}

    template <typename T>
    static Json object_of(T & value) {
        Writer writer;
        visit(writer, value);
        return writer.out;
    }

private:
    static Json json_of(int value) { return value; }
    static Json json_of(bool value) { return value; }
    static Json json_of(double value) { return value; }
    static Json json_of(const std::string & value) { return value; }
    static Json json_of(const Json & value) { return value; }
    static Json json_of(UNetAttention value) { return attention_names[static_cast<int>(value)]; }
    static Json json_of(Prediction value) { return prediction_name(value); }
    static Json json_of(NoiseSchedule & value) { return object_of(value); }
    static Json json_of(ClipTextConfig & value) { return object_of(value); }
    template <typename T>
    static Json json_of(std::optional<T> & value) {
        return value ? object_of(*value) : Json();
    }
    static Json json_of(std::vector<ConditionerConfig> & values) {
        Json list = Json::array();
        for (ConditionerConfig & value : values) {
            Json one = object_of(value);
            if (value.kind != "clip_text") one.erase("clip");
            list.push_back(std::move(one));
        }
        return list;
    }
    template <typename T>
    static Json json_of(const std::vector<T> & values) {
        Json list = Json::array();
        for (size_t i = 0; i < values.size(); ++i) list.push_back(static_cast<T>(values[i]));
        return list;
    }
};

// ---- reading -------------------------------------------------------------------------------------------------------------

constexpr size_t longest_list = 64;
constexpr size_t longest_table = 100000;  // betas
constexpr size_t longest_string = 4096;

size_t edit_distance(const std::string & a, const std::string & b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t up = row[j];
            row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
            diagonal = up;
        }
    }
    return row[b.size()];
}

/// Sets the fields that an object contains and leaves the others unchanged; rejects unknown names.
class Reader {
public:
    Reader(const Json & object, std::string path, ErrorCode code) : object_(object), path_(std::move(path)), code_(code) {
        if (!object.is_object()) wrong("", "an object");
    }

    template <typename T>
    void operator()(const char * name, T & value) {
        known_.push_back(name);
        const auto found = object_.find(name);
        if (found != object_.end()) read(*found, name, value);
    }

    /// A name that is no longer used but still accepted.
    void retired(const char * name) { retired_.push_back(name); }

    static bool has(const std::vector<std::string> & names, const std::string & name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    }

    void reject_unknown() const {
        for (const auto & item : object_.items()) {
            if (has(known_, item.key()) || has(retired_, item.key())) continue;
            const std::string key = item.key().substr(0, 80);
            const auto nearest = std::min_element(
                known_.begin(), known_.end(),
                [&](const std::string & a, const std::string & b) { return edit_distance(key, a) < edit_distance(key, b); });
            throw Error(
                code_, "The model specification has no field \"" + path_ + key + "\"; did you mean \"" + path_ + *nearest + "\"?",
                Json{{"field", path_ + key}, {"nearest", path_ + *nearest}}.dump(-1, ' ', false, Json::error_handler_t::replace));
        }
    }

private:
    [[noreturn]] void wrong(const std::string & name, const char * expected) const {
        std::string field = path_ + name;
        if (!field.empty() && field.back() == '.') field.pop_back();
        throw Error(code_,
                    "\"" + (field.empty() ? std::string("spec") : field) + "\" of the model specification must be " + expected);
    }

    void read(const Json & json, const char * name, double & value) const {
        if (!json.is_number() || !std::isfinite(json.get<double>())) wrong(name, "a finite number");
        value = json.get<double>();
    }
    void read(const Json & json, const char * name, int & value) const {
        double number = 0;
        read(json, name, number);
        if (number != std::floor(number) || std::fabs(number) > std::numeric_limits<int>::max()) wrong(name, "a 32-bit integer");
        value = static_cast<int>(number);
    }
    void read(const Json & json, const char * name, bool & value) const {
        if (!json.is_boolean()) wrong(name, "true or false");
        value = json.get<bool>();
    }
    void read(const Json & json, const char * name, std::string & value) const {
        if (!json.is_string() || json.get_ref<const std::string &>().size() > longest_string) wrong(name, "a short string");
        value = json.get<std::string>();
    }
    void read(const Json & json, const char * name, Json & value) const {
        if (!json.is_object()) wrong(name, "an object");
        value.update(json);
    }
    void read(const Json & json, const char * name, UNetAttention & value) const {
        std::string text;
        read(json, name, text);
        const auto found = std::find(std::begin(attention_names), std::end(attention_names), text);
        if (found == std::end(attention_names)) wrong(name, "\"none\", \"attention_block\" or \"spatial_transformer\"");
        value = static_cast<UNetAttention>(found - std::begin(attention_names));
    }
    void read(const Json & json, const char * name, Prediction & value) const {
        std::string text;
        read(json, name, text);
        if (text != "eps" && text != "epsilon" && text != "v" && text != "v_prediction" && text != "sample" && text != "edm") {
            wrong(name, "\"eps\", \"v\", \"sample\" or \"edm\"");
        }
        value = prediction_from_name(text);
    }
    void read(const Json & json, const char * name, NoiseSchedule & value) const { read_object(json, path_ + name, value); }
    void read(const Json & json, const char * name, ClipTextConfig & value) const { read_object(json, path_ + name, value); }
    template <typename T>
    void read(const Json & json, const char * name, std::optional<T> & value) const {
        if (json.is_null()) {
            value.reset();
        } else {
            if (!value) value.emplace();
            read_object(json, path_ + name, *value);
        }
    }
    // Existing conditioners are changed field by field, so that one can be overridden without repeating the rest.
    void read(const Json & json, const char * name, std::vector<ConditionerConfig> & values) const {
        if (!json.is_array() || json.size() > 8) wrong(name, "a list of at most 8 objects");
        values.resize(json.size());
        for (size_t i = 0; i < json.size(); ++i) read_object(json[i], path_ + name + "[" + std::to_string(i) + "]", values[i]);
    }
    template <typename T>
    void read(const Json & json, const char * name, std::vector<T> & values) const {
        const size_t longest = std::is_same<T, double>::value ? longest_table : longest_list;
        if (!json.is_array() || json.size() > longest) wrong(name, "a list of reasonable length");
        std::vector<T> list;
        for (const Json & item : json) {
            T one{};
            read(item, name, one);
            list.push_back(one);
        }
        values = std::move(list);
    }

    template <typename T>
    void read_object(const Json & json, const std::string & path, T & value) const {
        Reader reader(json, path + ".", code_);
        visit(reader, value);
        reader.reject_unknown();
    }

    const Json & object_;
    std::string path_;
    ErrorCode code_;
    std::vector<std::string> known_, retired_;
};

void read_spec(ModelSpec & spec, const Json & json, ErrorCode code) {
    Reader reader(json, "", code);
    visit(reader, spec);
    reader.reject_unknown();
}

}  // namespace

double family_scale_factor(const ModelSpec & spec) {
    return spec.family == "sdxl" ? 0.13025 : 0.18215;
}

const char * prediction_name(Prediction prediction) {
    switch (prediction) {
        case Prediction::v: return "v";
        case Prediction::sample: return "sample";
        case Prediction::edm: return "edm";
        default: return "eps";
    }
}

Prediction prediction_from_name(const std::string & name) {
    if (name == "eps" || name == "epsilon") return Prediction::eps;
    if (name == "v" || name == "v_prediction") return Prediction::v;
    if (name == "sample") return Prediction::sample;
    if (name == "edm") return Prediction::edm;
    throw Error(ErrorCode::unsupported_model,
                "The prediction type \"" + name.substr(0, 80) + "\" is unknown; eps, v, sample and edm are known",
                Json{{"found", name.substr(0, 80)}, {"nearest", "eps"}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json to_json(const ModelSpec & spec) {
    ModelSpec copy = spec;
    return Writer::object_of(copy);
}

ModelSpec spec_from_json(const Json & json) {
    ModelSpec spec;
    read_spec(spec, json, ErrorCode::model_format);
    validate(spec);
    return spec;
}

void apply_overrides(ModelSpec & spec, const Json & overrides) {
    if (overrides.is_null()) return;
    read_spec(spec, overrides, ErrorCode::invalid_argument);
    check_kind(spec.kind, ErrorCode::invalid_argument);
}

}  // namespace latent
