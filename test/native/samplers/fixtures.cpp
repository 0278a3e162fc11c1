#include "fixtures.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

namespace fixtures {

namespace {

std::string read_text(const std::string & name) {
    const std::string path = std::string(LATENT_FIXTURES) + "/procedures/" + name;
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("missing fixture " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ (x >> 16);
}

uint32_t key_hash(const std::string & key) {
    uint32_t h = 0x811C9DC5u;
    for (const char c : key) h = (h ^ static_cast<uint8_t>(c)) * 0x01000193u;
    return h;
}

}  // namespace

const Json & json(const std::string & name) {
    static std::map<std::string, Json> cache;
    const auto found = cache.find(name);
    if (found != cache.end()) return found->second;
    return cache[name] = latent::parse_json(read_text(name + ".json"), name);
}

const std::map<std::string, Values> & arrays(const std::string & name) {
    static std::map<std::string, std::map<std::string, Values>> cache;
    auto & out = cache[name];
    if (!out.empty()) return out;
    const std::string bytes = read_text(name + ".safetensors");
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    const Json entries = latent::parse_json(std::string_view(bytes).substr(8, header), name);
    for (const auto & [key, entry] : entries.items()) {
        if (key == "__metadata__") continue;
        const size_t begin = entry.at("data_offsets")[0], end = entry.at("data_offsets")[1];
        const char * data = bytes.data() + 8 + header + begin;
        Values & values = out[key];
        if (entry.at("dtype") == "F64") {
            std::vector<double> wide((end - begin) / 8);
            std::memcpy(wide.data(), data, end - begin);
            values.assign(wide.begin(), wide.end());
        } else {
            values.resize((end - begin) / 4);
            std::memcpy(values.data(), data, end - begin);
        }
    }
    return out;
}

double number(const Json & value) {
    if (value == "inf") return INFINITY;
    if (value == "nan") return NAN;
    return value.get<double>();
}

std::vector<double> numbers(const Json & value) {
    std::vector<double> out;
    for (const Json & item : value) out.push_back(number(item));
    return out;
}

Values formula(const std::string & key, size_t count) {
    const uint32_t h = key_hash(key);
    Values out(count);
    for (size_t i = 0; i < count; ++i) {
        const double v = mix(h + static_cast<uint32_t>(i) * 0x9E3779B9u) / 2147483648.0 - 1;
        out[i] = static_cast<float>(v * std::sqrt(3.0));
    }
    return out;
}

std::vector<int> formula_bytes(const std::string & key, size_t count) {
    const uint32_t h = key_hash(key);
    std::vector<int> out(count);
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<int>(mix(h + static_cast<uint32_t>(i) * 0x9E3779B9u) >> 24);
    return out;
}

void FormulaNoise::normal(Span<float> out) {
    const Values values = formula("noise:" + std::to_string(drawn++), out.size());
    std::copy(values.begin(), values.end(), out.begin());
}

std::vector<double> Mixture::clean(Span<const float> x, double a, double b) const {
    static const Json & model = json("samplers_k").at("model");
    static const std::vector<std::vector<double>> means = model.at("means");
    const std::vector<double> weights = model.at("weights").at(conditional ? "cond" : "uncond");
    const double deviation = model.at("std"), spread = a * a * deviation * deviation + b * b;
    const size_t channels = 4, pixels = x.size() / channels;
    std::vector<double> out(x.size());
    for (size_t p = 0; p < pixels; ++p) {
        double logits[4], top = -INFINITY, sum = 0;
        for (size_t k = 0; k < 4; ++k) {
            double distance = 0;
            for (size_t c = 0; c < channels; ++c) distance += std::pow(x[c * pixels + p] - a * means[k][c], 2);
            logits[k] = std::log(weights[k]) - distance / (2 * spread);
            top = std::max(top, logits[k]);
        }
        for (double & logit : logits) sum += logit = std::exp(logit - top);
        for (size_t c = 0; c < channels; ++c)
            for (size_t k = 0; k < 4; ++k)
                out[c * pixels + p] +=
                    logits[k] / sum * (means[k][c] + a * deviation * deviation / spread * (x[c * pixels + p] - a * means[k][c]));
    }
    return out;
}

Values network(const Mixture & mixture, Span<const float> x, double a, double b, latent::Prediction kind) {
    const std::vector<double> clean = mixture.clean(x, a, b);
    Values out(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        const double eps = (x[i] - a * clean[i]) / b;
        double value = eps;
        if (kind == latent::Prediction::v) value = a * eps - b * clean[i];
        if (kind == latent::Prediction::sample) value = clean[i];
        out[i] = static_cast<float>(value);
    }
    return out;
}

namespace {

template <typename Run>
Values guide(const Json & test, Run run) {
    const Values plain = run(Mixture{false});
    if (!test.contains("guidance_scale")) return plain;
    const Values cond = run(Mixture{true});
    Values out(plain.size());
    latent::samplers::apply_guidance(plain, cond, test.at("guidance_scale"), test.value("guidance_rescale", 0.0), 0, out);
    return out;
}

}  // namespace

Values guided_network(const Json & test, const latent::samplers::NoiseTable & table, double timestep, Span<const float> x,
                      latent::Prediction kind) {
    double a = 0, b = 1;
    const auto whole = static_cast<size_t>(timestep);
    if (timestep == static_cast<double>(whole)) {
        a = std::sqrt(table.alphas_cumprod[whole]);
        b = std::sqrt(1 - table.alphas_cumprod[whole]);
    } else {
        const double sigma = table.sigma_at(timestep);
        a = 1 / std::sqrt(1 + sigma * sigma);
        b = sigma * a;
    }
    return guide(test, [&](const Mixture & mixture) { return network(mixture, x, a, b, kind); });
}

Values guided_denoised(const Json & test, double sigma, Span<const float> x) {
    return guide(test, [&](const Mixture & mixture) {
        const auto clean = mixture.clean(x, 1, sigma);
        return Values(clean.begin(), clean.end());
    });
}

latent::Prediction prediction(const Json & test) {
    const std::string name = test.value("prediction", "epsilon");
    if (name == "v_prediction") return latent::Prediction::v;
    return name == "sample" ? latent::Prediction::sample : latent::Prediction::eps;
}

Trajectory::Trajectory(const std::string & file, const Json & test)
    : id_(test.at("id")), tolerance_(test.at("tolerance")), expected_(arrays(file).at(id_)) {}

bool Trajectory::check() const {
    if (points_.size() != expected_.size()) {
        check::fail(
            id_.c_str(), 0,
            std::to_string(points_.size() / latent_size) + " points, expected " + std::to_string(expected_.size() / latent_size));
        return false;
    }
    for (size_t begin = 0; begin < points_.size(); begin += latent_size) {
        double largest = 1, error = 0;
        for (size_t i = begin; i < begin + latent_size; ++i) {
            largest = std::max(largest, std::fabs(static_cast<double>(expected_[i])));
            const double difference = std::fabs(static_cast<double>(points_[i]) - expected_[i]);
            error = difference <= error ? error : difference;  // a NaN stays
        }
        if (error <= tolerance_ * largest) continue;
        check::fail(id_.c_str(), 0,
                    "point " + std::to_string(begin / latent_size) + ": relative error " + std::to_string(error / largest * 1e6) +
                        "e-6, tolerance " + std::to_string(tolerance_ * 1e6) + "e-6");
        return false;
    }
    return true;
}

}  // namespace fixtures
