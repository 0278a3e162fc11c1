#include "bench/networks.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "device_values.h"

namespace cuda_bench {

const latent_cuda_api & table() {
    static const latent_cuda_api * api = latent_cuda_open(LATENT_CUDA_VERSION);
    return *api;
}

void ok(int status) {
    if (status == LATENT_CUDA_OK) return;
    latent_cuda_error error;
    table().last_error(&error);
    throw std::runtime_error(error.message);
}

TensorFile::TensorFile(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot open " + path);
    struct Entry {
        std::string name, type;
        uint64_t offset;
        std::vector<int64_t> shape;
    };
    std::vector<Entry> entries;
    for (std::string line; std::getline(file, line) && !line.empty();) {
        std::istringstream words(line);
        Entry e;
        words >> e.name >> e.type >> e.offset;
        for (int64_t n; words >> n;) e.shape.push_back(n);
        entries.push_back(std::move(e));
    }
    const auto begin = file.tellg();
    for (Entry & e : entries) {
        StoredTensor t;
        t.shape = e.shape;
        size_t count = 1;
        for (const int64_t n : e.shape) count *= static_cast<size_t>(n);
        file.seekg(begin + static_cast<std::streamoff>(e.offset));
        if (e.type == "f16") {
            t.f16.resize(count);
            file.read(reinterpret_cast<char *>(t.f16.data()), static_cast<std::streamsize>(count * 2));
        } else {
            t.f32.resize(count);
            file.read(reinterpret_cast<char *>(t.f32.data()), static_cast<std::streamsize>(count * 4));
        }
        if (!file) throw std::runtime_error(path + " ends inside " + e.name);
        tensors_[e.name] = std::move(t);
    }
}

const StoredTensor & TensorFile::at(const std::string & name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error("no tensor " + name);
    return found->second;
}

Network::Network(latent_cuda_device * device, const TensorFile & file, const std::string & prefix, int type, bool load)
    : device_(device), file_(file), prefix_(prefix), type_(type), load_(load) {
    ok(table().program_create(device, &program));
}

Network::~Network() {
    table().program_destroy(program);
    for (auto & [name, t] : tensors_) table().tensor_free(t);
}

uint64_t Network::weight_bytes() const {
    uint64_t bytes = 0;
    for (const auto & [name, t] : tensors_) bytes += table().tensor_bytes(t);
    return bytes;
}

// ---- weights -----------------------------------------------------------------------------------------------------------

namespace {

/// Blocks of 32 with one scale, as ggml has them.
std::vector<uint8_t> to_q8_0(const std::vector<uint16_t> & values) {
    std::vector<uint8_t> bytes;
    bytes.reserve(values.size() / 32 * 34);
    for (size_t at = 0; at + 32 <= values.size(); at += 32) {
        float v[32], most = 0;
        for (int i = 0; i < 32; ++i)
            v[i] = cuda_test::value(latent::cuda::f16{values[at + i]}), most = std::max(most, std::fabs(v[i]));
        const latent::cuda::f16 d = cuda_test::rounded<latent::cuda::f16>(most / 127);
        bytes.push_back(static_cast<uint8_t>(d.bits & 255)), bytes.push_back(static_cast<uint8_t>(d.bits >> 8));
        const float inverse = most > 0 ? 127 / most : 0;
        for (const float each : v) bytes.push_back(static_cast<uint8_t>(static_cast<int8_t>(std::lround(each * inverse))));
    }
    return bytes;
}

}  // namespace

latent_cuda_tensor * Network::tensor(const std::string & name, latent_cuda_tensor_desc desc) {
    latent_cuda_tensor *& t = tensors_[name];
    if (t) return t;
    const bool quantise = type_ == LATENT_CUDA_Q8_0 && desc.role == LATENT_CUDA_MATRIX && desc.in % 32 == 0 && desc.out >= 32;
    desc.type = quantise ? LATENT_CUDA_Q8_0 : LATENT_CUDA_F16;
    ok(table().tensor_declare(device_, &desc, &t));
    if (!load_) return t;
    const size_t count = static_cast<size_t>(desc.out * desc.in) * desc.kernel * desc.kernel;
    std::vector<uint16_t> made;
    if (file_.empty()) {
        cuda_test::Numbers numbers(seed_++);
        const bool norm = name.size() > 7 && desc.role == LATENT_CUDA_VECTOR && name.compare(name.size() - 7, 7, ".weight") == 0;
        const float scale = desc.role == LATENT_CUDA_MATRIX ? 1.7f / std::sqrt(static_cast<float>(count / desc.out)) : 0.05f;
        for (size_t i = 0; i < count; ++i)
            made.push_back(cuda_test::rounded<latent::cuda::f16>(norm ? 1 + numbers.next(0.05f) : numbers.next(scale)).bits);
    }
    const std::vector<uint16_t> & values = file_.empty() ? made : file_.at(prefix_ + name).f16;
    if (values.size() != count) throw std::runtime_error(name + " has another size");
    if (quantise) {
        const auto bytes = to_q8_0(values);
        ok(table().tensor_load(t, bytes.data(), bytes.size()));
    } else {
        ok(table().tensor_load(t, values.data(), values.size() * 2));
    }
    return t;
}
latent_cuda_tensor * Network::matrix(const std::string & name, int64_t out, int64_t in, int kernel) {
    return tensor(name, {LATENT_CUDA_F16, LATENT_CUDA_MATRIX, out, in, kernel});
}
latent_cuda_tensor * Network::vector(const std::string & name, int64_t count) {
    return tensor(name, {LATENT_CUDA_F16, LATENT_CUDA_VECTOR, count, 1, 1});
}

// ---- layers ------------------------------------------------------------------------------------------------------------

Network::Map Network::conv(Map x, const std::string & name, int64_t out, int kernel, Extra extra) {
    latent_cuda_conv c = {};
    c.x = x.id, c.weight = matrix(name + ".weight", out, x.channels, kernel), c.bias = vector(name + ".bias", out);
    c.height = x.height, c.width = x.width, c.stride = extra.stride, c.upsample = extra.upsample;
    c.channel_add = extra.add, c.residual = extra.residual;
    const int64_t scale = extra.upsample ? 2 : 1;
    Map y{-1, x.height * scale / extra.stride, x.width * scale / extra.stride, out};
    ok(table().conv(program, &c, &y.id));
    return y;
}
latent_cuda_value Network::linear(latent_cuda_value x, const std::string & name, int64_t in, int64_t out, bool bias,
                                  int activation, bool geglu, latent_cuda_value residual) {
    latent_cuda_linear c = {};
    const int64_t rows = geglu ? 2 * out : out;
    c.x = x, c.weight = matrix(name + ".weight", rows, in, 1), c.bias = bias ? vector(name + ".bias", rows) : nullptr;
    c.activation = activation, c.geglu = geglu, c.residual = residual;
    latent_cuda_value y = -1;
    ok(table().linear(program, &c, &y));
    return y;
}
Network::Map Network::group_norm(Map x, const std::string & name, float eps, int activation) {
    const latent_cuda_group_norm c{
        x.id, vector(name + ".weight", x.channels), vector(name + ".bias", x.channels), 32, eps, activation, -1, -1};
    ok(table().group_norm(program, &c, &x.id));
    return x;
}
latent_cuda_value Network::layer_norm(latent_cuda_value x, const std::string & name, int64_t dim) {
    latent_cuda_value y = -1;
    ok(table().layer_norm(program, x, vector(name + ".weight", dim), vector(name + ".bias", dim), 1e-5f, &y));
    return y;
}
latent_cuda_value Network::attend(latent_cuda_value x, latent_cuda_value context, const std::string & name, int64_t dim,
                                  int64_t context_dim, int64_t heads, latent_cuda_value residual) {
    const latent_cuda_attention c{linear(x, name + ".to_q", dim, dim, false),
                                  linear(context, name + ".to_k", context_dim, dim, false),
                                  linear(context, name + ".to_v", context_dim, dim, false), static_cast<int32_t>(heads), 0};
    latent_cuda_value y = -1;
    ok(table().attention(program, &c, &y));
    return linear(y, name + ".to_out.0", dim, dim, true, 0, false, residual);
}
Network::Map Network::res_block(Map x, latent_cuda_value emb, const std::string & name, int64_t out, int64_t emb_dim) {
    Map h = group_norm(x, name + ".in_layers.0", 1e-5f, LATENT_CUDA_SILU);
    Extra with_time;
    with_time.add = linear(emb, name + ".emb_layers.1", emb_dim, out, true);
    h = group_norm(conv(h, name + ".in_layers.2", out, 3, with_time), name + ".out_layers.0", 1e-5f, LATENT_CUDA_SILU);
    Extra last;
    last.residual = x.channels == out ? x.id : conv(x, name + ".skip_connection", out, 1).id;
    return conv(h, name + ".out_layers.3", out, 3, last);
}
Network::Map Network::transformer(Map x, latent_cuda_value context, const std::string & name, int64_t context_dim,
                                  int64_t heads) {
    const int64_t dim = x.channels;
    latent_cuda_value h = linear(group_norm(x, name + ".norm", 1e-6f, 0).id, name + ".proj_in", dim, dim, true);
    const std::string block = name + ".transformer_blocks.0";
    latent_cuda_value n = layer_norm(h, block + ".norm1", dim);
    h = attend(n, n, block + ".attn1", dim, dim, heads, h);
    h = attend(layer_norm(h, block + ".norm2", dim), context, block + ".attn2", dim, context_dim, heads, h);
    n = linear(layer_norm(h, block + ".norm3", dim), block + ".ff.net.0.proj", dim, 4 * dim, true, 0, true);
    h = linear(n, block + ".ff.net.2", 4 * dim, dim, true, 0, false, h);
    Map y = x;
    ok(table().add(program, linear(h, name + ".proj_out", dim, dim, true), x.id, &y.id));
    return y;
}
Network::Map Network::concat(Map a, Map b) {
    Map y{-1, a.height, a.width, a.channels + b.channels};
    ok(table().concat_channels(program, a.id, b.id, &y.id));
    return y;
}

// ---- networks ----------------------------------------------------------------------------------------------------------

void Network::build_unet(const UNetShape & s) {
    const int64_t emb_dim = 4 * s.channels;
    latent_cuda_value emb = -1, context = -1;
    ok(table().input_seq(program, "timestep", s.batch, 1, s.channels, &emb));
    emb = linear(emb, "time_embed.0", s.channels, emb_dim, true, LATENT_CUDA_SILU);
    emb = linear(emb, "time_embed.2", emb_dim, emb_dim, true);
    ok(table().activation(program, emb, LATENT_CUDA_SILU, &emb));
    ok(table().input_seq(program, "context", s.batch, s.tokens, s.context, &context));
    Map h{-1, s.side, s.side, 4};
    ok(table().input_map(program, "x", s.batch, 4, s.side, s.side, &h.id));
    h = conv(h, "input_blocks.0.0", s.channels, 3);
    std::vector<Map> skips = {h};
    const auto attends = [&](int64_t scale) {
        return std::find(s.attention.begin(), s.attention.end(), scale) != s.attention.end();
    };
    int64_t scale = 1;
    int index = 1;
    for (size_t level = 0; level < s.mult.size(); ++level) {
        for (int i = 0; i < s.blocks; ++i, ++index) {
            const std::string block = "input_blocks." + std::to_string(index);
            h = res_block(h, emb, block + ".0", s.channels * s.mult[level], emb_dim);
            if (attends(scale)) h = transformer(h, context, block + ".1", s.context, s.heads);
            skips.push_back(h);
        }
        if (level + 1 == s.mult.size()) break;
        Extra half;
        half.stride = 2;
        h = conv(h, "input_blocks." + std::to_string(index++) + ".0.op", h.channels, 3, half);
        skips.push_back(h);
        scale *= 2;
    }
    h = res_block(h, emb, "middle_block.0", h.channels, emb_dim);
    h = transformer(h, context, "middle_block.1", s.context, s.heads);
    h = res_block(h, emb, "middle_block.2", h.channels, emb_dim);
    index = 0;
    for (size_t level = s.mult.size(); level-- > 0;) {
        for (int i = 0; i <= s.blocks; ++i, ++index) {
            const std::string block = "output_blocks." + std::to_string(index);
            h = res_block(concat(h, skips.back()), emb, block + ".0", s.channels * s.mult[level], emb_dim);
            skips.pop_back();
            if (attends(scale)) h = transformer(h, context, block + ".1", s.context, s.heads);
            if (level == 0 || i < s.blocks) continue;
            Extra twice;
            twice.upsample = 1;
            h = conv(h, block + (attends(scale) ? ".2" : ".1") + ".conv", h.channels, 3, twice);
            scale /= 2;
        }
    }
    h = conv(group_norm(h, "out.0", 1e-5f, LATENT_CUDA_SILU), "out.2", 4, 3);
    ok(table().output_map(program, "out", h.id, h.height, h.width));
}

Network::Map Network::stage_block(Map x, const std::string & name, int64_t out) {
    Map h = conv(group_norm(x, name + ".norm1", 1e-6f, LATENT_CUDA_SILU), name + ".conv1", out, 3);
    h = group_norm(h, name + ".norm2", 1e-6f, LATENT_CUDA_SILU);
    Extra last;
    last.residual = x.channels == out ? x.id : conv(x, name + ".nin_shortcut", out, 1).id;
    return conv(h, name + ".conv2", out, 3, last);
}

Network::Map Network::stage_attention(Map x, const std::string & name) {
    const int64_t dim = x.channels;
    const latent_cuda_value h = group_norm(x, name + ".norm", 1e-6f, 0).id;
    const latent_cuda_attention c{linear(h, name + ".q", dim, dim, true), linear(h, name + ".k", dim, dim, true),
                                  linear(h, name + ".v", dim, dim, true), 1, 0};
    Map y = x;
    ok(table().attention(program, &c, &y.id));
    ok(table().add(program, linear(y.id, name + ".proj_out", dim, dim, true), x.id, &y.id));
    return y;
}

void Network::build_decoder(const DecoderShape & s) {
    Map h{-1, s.side, s.side, 4};
    ok(table().input_map(program, "latents", 1, 4, s.side, s.side, &h.id));
    h = conv(h, "conv_in", s.widths.back(), 3);
    h = stage_block(h, "mid.block_1", h.channels);
    h = stage_attention(h, "mid.attn_1");
    h = stage_block(h, "mid.block_2", h.channels);
    for (size_t level = s.widths.size(); level-- > 0;) {
        const std::string up = "up." + std::to_string(level);
        for (int i = 0; i <= s.blocks; ++i) h = stage_block(h, up + ".block." + std::to_string(i), s.widths[level]);
        if (level == 0) break;
        Extra twice;
        twice.upsample = 1;
        h = conv(h, up + ".upsample.conv", h.channels, 3, twice);
    }
    h = conv(group_norm(h, "norm_out", 1e-6f, LATENT_CUDA_SILU), "conv_out", 3, 3);
    ok(table().output_map(program, "image", h.id, h.height, h.width));
}

}  // namespace cuda_bench
