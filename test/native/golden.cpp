#include "golden.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "core/path.h"
#include "fixture.h"
#include "torch_writer.h"

namespace golden {

using latent::DType;
using latent::Json;

namespace {

namespace fs = std::filesystem;

size_t product(const std::vector<int64_t> & shape) {
    return static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>()));
}

/// base + scale * v_i, v_i in [-1, 1) by the key, in float64 and then `Number`.
template <typename Number>
std::vector<Number> uniform(const std::string & key, uint32_t seed, size_t count, double scale = 1, double base = 0) {
    uint32_t h = 0x811C9DC5u;
    for (const unsigned char c : key) h = (h ^ c) * 0x01000193u;
    h ^= seed;
    std::vector<Number> out(count);
    for (size_t i = 0; i < count; ++i) {
        uint32_t x = h + static_cast<uint32_t>(i) * 0x9E3779B9u;
        x ^= x >> 16, x *= 0x85EBCA6Bu, x ^= x >> 13, x *= 0xC2B2AE35u, x ^= x >> 16;
        out[i] = static_cast<Number>(base + scale * (static_cast<double>(x) / 2147483648.0 - 1.0));
    }
    return out;
}

std::vector<float> by_rule(const std::string & key, uint32_t seed, const std::vector<int64_t> & shape, const std::string & rule,
                           const Json & constants) {
    double scale = constants.at(rule).get<double>();
    if (rule == "w" || rule == "s") {
        double fan_in = 1;
        for (size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
        scale *= std::sqrt(3.0 / fan_in);
    }
    return uniform<float>(key, seed, product(shape), scale, rule == "n" ? 1.0 : 0.0);
}

/// The training buffers: float64 arithmetic, rounded at the end.
std::vector<float> schedule(const std::string & name, size_t n, double start, double end) {
    std::vector<float> out(n);
    double cumulative = 1;
    const double a = std::sqrt(start), b = std::sqrt(end);
    for (size_t i = 0; i < n; ++i) {
        const double root = n == 1 ? a : a + (b - a) * (static_cast<double>(i) / static_cast<double>(n - 1));
        const double beta = root * root, previous = cumulative;
        cumulative *= 1 - beta;
        const double ac = cumulative, variance = beta * (1 - previous) / (1 - ac);
        double x = 0;
        if (name == "betas")
            x = beta;
        else if (name == "alphas_cumprod")
            x = ac;
        else if (name == "alphas_cumprod_prev")
            x = previous;
        else if (name == "sqrt_alphas_cumprod")
            x = std::sqrt(ac);
        else if (name == "sqrt_one_minus_alphas_cumprod")
            x = std::sqrt(1 - ac);
        else if (name == "log_one_minus_alphas_cumprod")
            x = std::log(1 - ac);
        else if (name == "sqrt_recip_alphas_cumprod")
            x = std::sqrt(1 / ac);
        else if (name == "sqrt_recipm1_alphas_cumprod")
            x = std::sqrt(1 / ac - 1);
        else if (name == "posterior_variance")
            x = variance;
        else if (name == "posterior_log_variance_clipped")
            x = std::log(std::max(variance, 1e-20));
        else if (name == "posterior_mean_coef1")
            x = beta * std::sqrt(previous) / (1 - ac);
        else if (name == "posterior_mean_coef2")
            x = (1 - previous) * std::sqrt(1 - beta) / (1 - ac);
        else
            throw latent::Error(latent::ErrorCode::internal, "unknown schedule buffer " + name);
        out[i] = static_cast<float>(x);
    }
    return out;
}

std::vector<double> literal(const Json & value) {
    std::vector<double> out;
    if (value.is_array()) {
        for (const Json & item : value) {
            const std::vector<double> inner = literal(item);
            out.insert(out.end(), inner.begin(), inner.end());
        }
    } else {
        out.push_back(value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>());
    }
    return out;
}

std::vector<double> entry_values(const Case & c, const Json & entry) {
    const std::string key = entry[0], rule = entry[3];
    const std::vector<int64_t> shape = entry[1];
    const Json extra = entry.size() > 4 ? entry[4] : Json::object();
    const size_t count = product(shape);
    std::vector<double> out;
    if (rule == "lit") {
        out = literal(extra.at("value"));
    } else if (rule == "arange") {
        out.resize(count);
        std::iota(out.begin(), out.end(), 0.0);
    } else if (rule == "causal") {
        const size_t n = static_cast<size_t>(shape.back());
        out.resize(count);
        for (size_t i = 0; i < count; ++i) out[i] = i % n > i / n ? -std::numeric_limits<double>::infinity() : 0.0;
    } else if (rule == "schedule") {
        const Json * p = &c.config().at("model").at("params");
        if (key.rfind("low_scale_model.", 0) == 0) p = &p->at("low_scale_config").at("params").at("noise_schedule_config");
        const std::vector<float> values =
            schedule(key.substr(key.rfind('.') + 1), count, p->at("linear_start"), p->at("linear_end"));
        out.assign(values.begin(), values.end());
    } else {
        const std::vector<int64_t> from_shape = extra.value("from_shape", shape);
        std::vector<float> values =
            by_rule(extra.value("from", key), c.json.at("seed"), from_shape, rule, c.json.at("constants"));
        if (extra.contains("rows")) {
            const size_t row = values.size() / static_cast<size_t>(from_shape[0]);
            std::vector<float> kept;
            for (const Json & range : extra.at("rows")) {
                kept.insert(kept.end(), values.begin() + range[0].get<long>() * static_cast<long>(row),
                            values.begin() + range[1].get<long>() * static_cast<long>(row));
            }
            values = std::move(kept);
        }
        if (extra.value("transpose", false)) {
            const size_t rows = static_cast<size_t>(shape[0]), columns = static_cast<size_t>(shape[1]);
            std::vector<float> turned(values.size());
            for (size_t i = 0; i < rows; ++i)
                for (size_t j = 0; j < columns; ++j) turned[i * columns + j] = values[j * rows + i];
            values = std::move(turned);
        }
        out.assign(values.begin(), values.end());
    }
    if (out.size() != count) throw latent::Error(latent::ErrorCode::internal, "wrong element count for " + key);
    return out;
}

DType dtype_from(const std::string & name) {
    static const std::vector<std::pair<const char *, DType>> names = {
        {"F32", DType::f32}, {"F64", DType::f64}, {"F16", DType::f16}, {"BF16", DType::bf16},
        {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8},   {"BOOL", DType::boolean}};
    for (const auto & pair : names)
        if (name == pair.first) return pair.second;
    throw latent::Error(latent::ErrorCode::internal, "unknown dtype " + name);
}

std::string safetensors_name(DType type) {
    switch (type) {
        case DType::f32: return "F32";
        case DType::f64: return "F64";
        case DType::f16: return "F16";
        case DType::bf16: return "BF16";
        case DType::i64: return "I64";
        case DType::i32: return "I32";
        case DType::u8: return "U8";
        case DType::f8_e4m3: return "F8_E4M3";
        case DType::boolean: return "BOOL";
        case DType::c64: return "C64";
        default: throw latent::Error(latent::ErrorCode::internal, "no safetensors type");
    }
}

template <typename T, typename Round>
std::vector<uint8_t> encoded(const std::vector<double> & values, Round round) {
    std::vector<T> typed(values.size());
    std::transform(values.begin(), values.end(), typed.begin(), round);
    std::vector<uint8_t> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), typed.data(), bytes.size());
    return bytes;
}

std::vector<uint8_t> encode(const std::vector<double> & values, DType type) {
    switch (type) {
        case DType::f32: return encoded<float>(values, [](double v) { return static_cast<float>(v); });
        case DType::f64: return encoded<double>(values, [](double v) { return v; });
        case DType::f16: return encoded<uint16_t>(values, [](double v) { return latent::float_to_half(static_cast<float>(v)); });
        case DType::bf16:
            return encoded<uint16_t>(values, [](double v) { return latent::float_to_bfloat(static_cast<float>(v)); });
        case DType::i64: return encoded<int64_t>(values, [](double v) { return static_cast<int64_t>(v); });
        case DType::i32: return encoded<int32_t>(values, [](double v) { return static_cast<int32_t>(v); });
        default: return encoded<uint8_t>(values, [](double v) { return static_cast<uint8_t>(v); });
    }
}

const Json & layout_files(const Case & c, const std::string & layout) {
    return c.json.at("layouts").at(layout);
}

/// Of a safetensors file, from its first eight bytes.
uint64_t header_length(const std::string & bytes) {
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<uint8_t>(bytes.at(i));
    return length;
}

void write_text(const std::string & path, const std::string & text) {
    fs::create_directories(latent::to_path(path).parent_path());
    std::ofstream file(latent::to_path(path), std::ios::binary);
    file << text;
    if (!file) throw latent::Error(latent::ErrorCode::io, "cannot write " + path);
}

}  // namespace

Case load(const std::string & name) {
    static std::map<std::string, const Json> read;
    const auto found = read.find(name);
    return {name, found != read.end() ? found->second
                                      : read.emplace(name, fixture::json("models/" + name + "/case.json")).first->second};
}

TempFolder::TempFolder() {
    static std::atomic<int> count{0};
    std::random_device random;
    const auto ticks = std::chrono::steady_clock::now().time_since_epoch().count();
    const std::string name =
        "latent-test-" + std::to_string(random()) + "-" + std::to_string(ticks) + "-" + std::to_string(count++);
    path_ = latent::to_utf8(fs::temp_directory_path() / name);
    fs::create_directories(latent::to_path(path_));
}

TempFolder::~TempFolder() {
    std::error_code ignored;
    fs::remove_all(latent::to_path(path_), ignored);
}

void write_safetensors(const std::string & path, const std::vector<FileTensor> & tensors, const Json & metadata) {
    Json header = Json::object();
    if (!metadata.is_null()) header["__metadata__"] = metadata;
    uint64_t offset = 0;
    for (const FileTensor & t : tensors) {
        header[t.name] = {
            {"dtype", safetensors_name(t.dtype)}, {"shape", t.shape}, {"data_offsets", {offset, offset + t.data.size()}}};
        offset += t.data.size();
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    fs::create_directories(latent::to_path(path).parent_path());
    std::ofstream file(latent::to_path(path), std::ios::binary);
    uint64_t length = text.size();
    uint8_t prefix[8];
    for (uint8_t & byte : prefix) byte = static_cast<uint8_t>(length), length >>= 8;
    file.write(reinterpret_cast<const char *>(prefix), 8);
    file << text;
    for (const FileTensor & t : tensors) {
        file.write(reinterpret_cast<const char *>(t.data.data()), static_cast<std::streamsize>(t.data.size()));
    }
    if (!file) throw latent::Error(latent::ErrorCode::io, "cannot write " + path);
}

void poke(const std::string & path, const std::string & name, size_t index, float value) {
    std::fstream file(latent::to_path(path), std::ios::in | std::ios::out | std::ios::binary);
    std::string prefix(8, '\0');
    file.read(&prefix[0], 8);
    const uint64_t length = header_length(prefix);
    std::string text(static_cast<size_t>(length), ' ');
    file.read(&text[0], static_cast<std::streamsize>(length));
    const Json info = Json::parse(text).at(name);
    if (info.at("dtype") != "F32") throw latent::Error(latent::ErrorCode::internal, name + " is not F32");
    const uint64_t offset = info.at("data_offsets")[0].get<uint64_t>() + index * sizeof(float);
    file.seekp(static_cast<std::streamoff>(8 + length + offset));
    file.write(reinterpret_cast<const char *>(&value), sizeof(value));
    if (!file.flush()) throw latent::Error(latent::ErrorCode::io, "cannot write " + path);
}

FileTensor formula_tensor(const std::string & name, std::vector<int64_t> shape, uint32_t seed, double scale) {
    std::vector<uint8_t> bytes = encode(uniform<double>(name, seed, product(shape), scale), DType::f32);
    return {name, DType::f32, std::move(shape), std::move(bytes)};
}

namespace {

struct FileTensors {
    std::vector<FileTensor> tensors;
    std::vector<std::pair<std::string, std::string>> shared;
};

/// The tensors of one file. The last is kept: tests that change one thing after another write the same file many times.
const FileTensors & tensors_of(const Case & c, const std::string & layout, const std::string & file, const Json & entries,
                               const WriteOptions & options) {
    static std::string kept_for;
    static FileTensors kept;
    const std::string wanted = c.name + "/" + layout + "/" + file + (options.f16 ? " f16" : "") + (options.bf16 ? " bf16" : "");
    if (kept_for == wanted) return kept;
    kept_for.clear();
    kept = {};
    for (const Json & entry : entries) {
        DType type = dtype_from(entry[2]);
        if (type == DType::f32 && options.f16) type = DType::f16;
        if (type == DType::f32 && options.bf16) type = DType::bf16;
        kept.tensors.push_back({entry[0], type, entry[1], encode(entry_values(c, entry), type)});
        if (entry.size() > 4 && entry[4].contains("shared")) kept.shared.push_back({entry[0], entry[4].at("from")});
    }
    kept_for = wanted;
    return kept;
}

}  // namespace

std::string write_layout(const Case & c, const std::string & layout, const std::string & folder, const WriteOptions & options) {
    const Json & files = layout_files(c, layout);
    std::string single;
    for (const auto & item : files.items()) {
        const std::string path = folder + "/" + item.key();
        single = path;
        if (item.value().contains("json")) {
            write_text(path, item.value().at("json").dump(2));
            continue;
        }
        const auto & [tensors, shared] = tensors_of(c, layout, item.key(), item.value().at("tensors"), options);
        const std::string extension = ".safetensors";
        const bool named = path.size() > extension.size() && path.substr(path.size() - extension.size()) == extension;
        if (options.container == WriteOptions::safetensors || named) {
            write_safetensors(path, tensors);
        } else {
            fs::create_directories(latent::to_path(path).parent_path());
            torch_writer::write(path, tensors, {options.container == WriteOptions::torch_legacy, shared});
        }
    }
    return files.size() == 1 ? single : folder;
}

Values input(const Case & c, const std::string & name) {
    const Json & i = c.json.at("inputs").at(name);
    Values out;
    out.shape = i.at("shape").get<std::vector<int64_t>>();
    const size_t count = product(out.shape);
    if (i.contains("value")) {
        const std::vector<double> values = literal(i.at("value"));
        out.data.assign(values.begin(), values.end());
        return out;
    }
    const std::string gen = i.at("gen");
    out.data.resize(count);
    if (gen == "rect") {
        const std::vector<size_t> box = i.at("box");  // y0, y1, x0, x1
        const size_t width = static_cast<size_t>(out.shape.back()), height = static_cast<size_t>(out.shape[out.shape.size() - 2]);
        for (size_t k = 0; k < count; ++k) {
            const size_t x = k % width, y = k / width % height;
            out.data[k] = y >= box[0] && y < box[1] && x >= box[2] && x < box[3] ? 1.0f : 0.0f;
        }
        return out;
    }
    const std::vector<double> v = uniform<double>("input:" + name, c.json.at("seed"), count);
    for (size_t k = 0; k < count; ++k) {
        double x = v[k];
        if (gen == "unit")
            x *= std::sqrt(3.0);
        else if (gen == "01")
            x = 0.5 * x + 0.5;
        else if (gen == "labels")
            x = std::min(std::floor((x + 1) / 2 * i.at("n").get<double>()), i.at("n").get<double>() - 1);
        out.data[k] = static_cast<float>(x);
    }
    return out;
}

Values expected(const Case & c, const std::string & name) {
    const std::string bytes = fixture::text("models/" + c.name + "/expected.safetensors");
    const uint64_t length = header_length(bytes);
    const Json header = Json::parse(bytes.substr(8, length));
    const Json & info = header.at(name);
    Values out;
    out.shape = info.at("shape").get<std::vector<int64_t>>();
    out.data.resize(product(out.shape));
    const size_t begin = 8 + length + info.at("data_offsets")[0].get<size_t>();
    latent::convert_to_f32(dtype_from(info.at("dtype")), bytes.data() + begin, out.data.data(),
                           static_cast<int64_t>(out.data.size()));
    const Json & described = c.json.at("expected").at(name);
    out.atol = described.value("atol", 0.0);
    out.stride = described.value("stride", 1);
    return out;
}

Values weight(const Case & c, const std::string & layout, const std::string & key) {
    for (const auto & item : layout_files(c, layout).items()) {
        if (!item.value().contains("tensors")) continue;
        for (const Json & entry : item.value().at("tensors")) {
            if (entry[0] != key) continue;
            const std::vector<double> values = entry_values(c, entry);
            return {entry[1], std::vector<float>(values.begin(), values.end()), 0, 1};
        }
    }
    throw latent::Error(latent::ErrorCode::internal, "no tensor " + key + " in layout " + layout);
}

std::vector<latent::TensorInfo> keys(const Case & c, const std::string & layout) {
    std::vector<latent::TensorInfo> out;
    for (const auto & item : layout_files(c, layout).items()) {
        if (!item.value().contains("tensors")) continue;
        for (const Json & entry : item.value().at("tensors")) {
            latent::TensorInfo info;
            info.name = entry[0];
            info.dtype = dtype_from(entry[2]);
            info.shape = entry[1].get<std::vector<int64_t>>();
            out.push_back(std::move(info));
        }
    }
    return out;
}

}  // namespace golden
