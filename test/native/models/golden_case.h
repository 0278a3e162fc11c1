#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "core/conditioner_params.h"
#include "core/model_spec.h"
#include "core/tensor_source.h"
#include "fixture.h"

// Golden cases without files: the weights of a case computed from its formula when they are read.

namespace golden {

using latent::DType;
using latent::Json;

inline uint32_t mix(uint32_t x) {
    x ^= x >> 16, x *= 0x85EBCA6Bu, x ^= x >> 13, x *= 0xC2B2AE35u;
    return x ^ (x >> 16);
}

/// Uniform values in [-1, 1) of a key.
inline std::vector<double> uniform(const std::string & key, uint32_t seed, size_t count) {
    uint32_t h = 0x811C9DC5u;
    for (const unsigned char c : key) h = (h ^ c) * 0x01000193u;
    h ^= seed;
    std::vector<double> out(count);
    for (size_t i = 0; i < count; ++i) out[i] = mix(h + static_cast<uint32_t>(i) * 0x9E3779B9u) / 2147483648.0 - 1.0;
    return out;
}

struct Tensor {
    std::vector<int64_t> shape;
    std::vector<float> data;
    double atol = 0, max_abs = 0;
    int stride = 1;
    std::vector<int32_t> integers() const { return {data.begin(), data.end()}; }  // of tokens, classes and codes: exact
};

/// The weights of one layout. With `ema`, model.* reads the averaged weights. `round_to`: weights rounded to that type, and
/// stored so.
class Weights : public latent::TensorSource {
public:
    Weights(const Json & golden_case, bool ema, DType stored, const std::string & only_prefix)
        : seed_(golden_case.at("seed").get<uint32_t>()), stored_(stored) {
        name_ = golden_case.at("case").get<std::string>();
        constants_ = golden_case.at("constants");
        std::vector<latent::TensorInfo> infos;
        std::map<std::string, Json> by_key;
        for (const auto & file : golden_case.at("layouts").at("compvis")) {
            if (!file.contains("tensors")) continue;
            for (const Json & entry : file["tensors"]) by_key[entry[0].get<std::string>()] = entry;
        }
        for (const auto & [key, entry] : by_key) {
            const std::string rule = entry[3];
            if (rule.size() != 1 || key.rfind(only_prefix, 0) != 0) continue;
            std::string source = entry.size() > 4 && entry[4].contains("from") ? entry[4]["from"].get<std::string>() : key;
            if (ema && key.rfind("model.", 0) == 0) {
                source = "model_ema.";
                for (const char c : key.substr(6)) {
                    if (c != '.') source += c;
                }
                if (!by_key.count(source)) throw std::runtime_error("no averaged weights for " + key);
            }
            latent::TensorInfo info;
            info.name = key;
            info.dtype = stored;
            info.shape = entry[1].get<std::vector<int64_t>>();
            info.bytes = static_cast<uint64_t>(info.elements()) * static_cast<uint64_t>(latent::dtype_block_bytes(stored));
            infos.push_back(info);
            rules_.push_back({source, rule[0]});
        }
        set_tensors(std::move(infos));
    }

    latent::Span<const uint8_t> view(const latent::TensorInfo &) const override { return {}; }

    void read(const latent::TensorInfo & info, void * destination) const override {
        const auto & [key, rule] = rules_[info.index];
        const std::vector<double> v = uniform(key, seed_, static_cast<size_t>(info.elements()));
        const double constant = constants_.at(std::string(1, rule)).get<double>();
        double scale = constant;
        if (rule == 'w' || rule == 's') {
            double fan_in = 1;
            for (size_t i = 1; i < info.shape.size(); ++i) fan_in *= static_cast<double>(info.shape[i]);
            scale = constant * std::sqrt(3.0 / fan_in);
        }
        for (size_t i = 0; i < v.size(); ++i) {
            const float value = static_cast<float>((rule == 'n' ? 1.0 : 0.0) + scale * v[i]);
            if (stored_ == DType::f32) {
                static_cast<float *>(destination)[i] = value;
            } else {
                static_cast<uint16_t *>(destination)[i] =
                    stored_ == DType::f16 ? latent::float_to_half(value) : latent::float_to_bfloat(value);
            }
        }
    }

private:
    uint32_t seed_;
    DType stored_;
    Json constants_;
    std::vector<std::pair<std::string, char>> rules_;
};

class ModelCase {
public:
    explicit ModelCase(const std::string & name) : json_(fixture::json("models/" + name + "/case.json")) {
        const std::string file = fixture::text("models/" + name + "/expected.safetensors");
        uint64_t header_size = 0;
        std::memcpy(&header_size, file.data(), 8);
        const Json header = Json::parse(file.substr(8, header_size));
        for (const auto & [key, value] : header.items()) {
            if (key == "__metadata__") continue;
            Tensor tensor;
            tensor.shape = value.at("shape").get<std::vector<int64_t>>();
            const size_t begin = value.at("data_offsets")[0], end = value.at("data_offsets")[1];
            tensor.data.resize((end - begin) / sizeof(float));
            const latent::DType type = value.at("dtype") == "I32" ? DType::i32 : DType::f32;
            latent::convert_to_f32(type, file.data() + 8 + header_size + begin, tensor.data.data(),
                                   static_cast<int64_t>(tensor.data.size()));
            const Json & info = json_.at("expected").at(key);
            tensor.atol = info.at("atol");
            tensor.max_abs = latent::json_value(info, "max_abs", 0.0);
            tensor.stride = latent::json_value(info, "stride", 1);
            expected_[key] = std::move(tensor);
        }
    }

    const Json & params() const { return json_.at("config").at("model").at("params"); }
    const Json & config() const { return json_.at("config"); }
    const Tensor & expected(const std::string & name) const { return expected_.at(name); }
    bool has_expected(const std::string & name) const { return expected_.count(name) > 0; }

    std::shared_ptr<Weights> weights(const std::string & prefix, bool ema = false, DType stored = DType::f32) const {
        return std::make_shared<Weights>(json_, ema, stored, prefix);
    }

    std::vector<int64_t> shape(const std::string & name) const {
        return json_.at("inputs").at(name).at("shape").get<std::vector<int64_t>>();
    }

    std::vector<float> input(const std::string & name) const {
        const Json & info = json_.at("inputs").at(name);
        if (info.contains("value")) return numbers<float>(info["value"]);
        size_t count = 1;
        for (const int64_t n : shape(name)) count *= static_cast<size_t>(n);
        const std::vector<double> v = uniform("input:" + name, json_.at("seed").get<uint32_t>(), count);
        const std::string gen = info.at("gen");
        std::vector<float> out(count);
        if (gen == "labels") {
            const double n = info.at("n");
            for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(std::fmin(std::floor((v[i] + 1) / 2 * n), n - 1));
            return out;
        }
        for (size_t i = 0; i < count; ++i)
            out[i] = static_cast<float>(gen == "unit" ? v[i] * std::sqrt(3.0) : gen == "01" ? 0.5 * v[i] + 0.5 : v[i]);
        return out;
    }

    template <typename T>
    std::vector<T> input_values(const std::string & name) const {
        return numbers<T>(json_.at("inputs").at(name).at("value"));
    }

private:
    template <typename T>
    static std::vector<T> numbers(const Json & value) {
        std::vector<T> out;
        for (const Json & item : value) {
            if (item.is_array()) {
                for (const Json & number : item) out.push_back(number.get<T>());
            } else {
                out.push_back(item.get<T>());
            }
        }
        return out;
    }

    Json json_;
    std::map<std::string, Tensor> expected_;
};

/// Largest difference; images kept only every `stride`-th row and column are compared there.
inline double max_difference(const std::vector<float> & actual, const Tensor & expected, int64_t height = 0, int64_t width = 0) {
    double worst = 0;
    if (expected.stride == 1) {
        if (actual.size() != expected.data.size()) return INFINITY;
        for (size_t i = 0; i < actual.size(); ++i)
            worst = std::fmax(worst, std::isfinite(actual[i]) ? std::fabs(actual[i] - expected.data[i]) : INFINITY);
        return worst;
    }
    size_t next = 0;
    const size_t plane = static_cast<size_t>(height * width);
    for (size_t p = 0; p < actual.size() / plane; ++p) {
        for (int64_t y = 0; y < height; y += expected.stride) {
            for (int64_t x = 0; x < width; x += expected.stride) {
                if (next >= expected.data.size()) return INFINITY;
                const float value = actual[p * plane + static_cast<size_t>(y * width + x)];
                worst = std::fmax(worst, std::isfinite(value) ? std::fabs(value - expected.data[next]) : INFINITY);
                ++next;
            }
        }
    }
    return next == expected.data.size() ? worst : INFINITY;
}

/// UNetModel's constructor arguments as our configuration.
inline latent::UNetConfig unet_config(const Json & p) {
    latent::UNetConfig c;
    c.in_channels = p.at("in_channels");
    c.out_channels = p.at("out_channels");
    c.model_channels = p.at("model_channels");
    c.channel_mult = p.at("channel_mult").get<std::vector<int>>();
    c.num_res_blocks = p.at("num_res_blocks");
    c.attention_resolutions = p.at("attention_resolutions").get<std::vector<int>>();
    const bool transformer = p.contains("context_dim");
    c.attention = transformer ? latent::UNetAttention::spatial_transformer : latent::UNetAttention::attention_block;
    c.num_heads = latent::json_value(p, "num_heads", 1);
    c.num_head_channels = latent::json_value(p, "num_head_channels", -1);
    if (p.contains("transformer_depth")) {
        c.transformer_depth = p["transformer_depth"].is_array() ? p["transformer_depth"].get<std::vector<int>>()
                                                                : std::vector<int>{p["transformer_depth"].get<int>()};
    }
    c.context_dim = latent::json_value(p, "context_dim", 0);
    c.scale_shift_norm = latent::json_value(p, "use_scale_shift_norm", false);
    c.resblock_updown = latent::json_value(p, "resblock_updown", false);
    c.disable_self_attentions = latent::json_value(p, "disable_self_attentions", std::vector<bool>{});
    c.disable_middle_self_attention = latent::json_value(p, "disable_middle_self_attn", false);
    if (p.contains("num_classes")) {
        c.class_embedding = p["num_classes"].is_string() ? "vector" : "embedding";
        if (p["num_classes"].is_number()) c.class_count = p["num_classes"];
        c.vector_dim = latent::json_value(p, "adm_in_channels", 0);
    }
    return c;
}

/// The constructor arguments of AutoencoderKL or VQModelInterface as our configuration.
inline latent::AutoencoderConfig autoencoder_config(const Json & p) {
    latent::AutoencoderConfig c;
    const Json & dd = p.at("ddconfig");
    c.in_channels = dd.at("in_channels");
    c.out_channels = dd.at("out_ch");
    c.channels = dd.at("ch");
    c.channel_mult = dd.at("ch_mult").get<std::vector<int>>();
    c.num_res_blocks = dd.at("num_res_blocks");
    c.double_z = dd.at("double_z");
    c.z_channels = dd.at("z_channels");
    c.embed_dim = p.at("embed_dim");
    c.kind = c.double_z ? "kl" : "vq";
    c.codebook_size = latent::json_value(p, "n_embed", 0);
    c.middle_attention = latent::json_value(dd, "attn_type", std::string("vanilla")) != "none";
    const auto at = dd.at("attn_resolutions").get<std::vector<int>>();
    for (int level = 0; level < static_cast<int>(c.channel_mult.size()); ++level) {
        for (const int resolution : at) {
            if (dd.at("resolution").get<int>() >> level == resolution) c.attention_levels.push_back(level);
        }
    }
    return c;
}

/// BERTEmbedder's constructor arguments (n_embed, n_layer, ...) as our configuration.
inline latent::BertConfig bert_config(const Json & p) {
    latent::BertConfig c;
    c.hidden_size = p.at("n_embed");
    c.num_layers = p.at("n_layer");
    c.vocab_size = latent::json_value(p, "vocab_size", 30522);
    c.max_length = latent::json_value(p, "max_seq_len", 77);
    c.intermediate_size = 4 * c.hidden_size;
    return c;
}

inline latent::ClipTextConfig clip_config(const Json & p) {
    latent::ClipTextConfig c;
    c.hidden_size = p.at("hidden_size");
    c.intermediate_size = p.at("intermediate_size");
    c.num_hidden_layers = p.at("num_hidden_layers");
    c.num_attention_heads = p.at("num_attention_heads");
    c.hidden_act = p.at("hidden_act");
    return c;
}

}  // namespace golden
