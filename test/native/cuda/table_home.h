#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/cuda_api.h"
#include "device_values.h"

// A small network written once and run twice: through the engine's table, and in float64 by definition.

namespace cuda_test {

inline const latent_cuda_api & table() {
    static const latent_cuda_api * api = latent_cuda_open(LATENT_CUDA_VERSION);
    if (!api) throw std::runtime_error("no table");
    return *api;
}

inline void ok(int status) {
    if (status == LATENT_CUDA_OK) return;
    latent_cuda_error error;
    table().last_error(&error);
    throw std::runtime_error(error.message);
}

/// A device that is open for a test.
struct Opened {
    latent_cuda_device * device = nullptr;
    explicit Opened(int element = LATENT_CUDA_BF16, int index = 0) { ok(table().device_open(index, element, &device)); }
    ~Opened() { table().device_close(device); }
    latent_cuda_memory memory() const {
        latent_cuda_memory m;
        ok(table().device_memory(device, &m));
        return m;
    }
};

inline latent_cuda_error last_error() {
    latent_cuda_error error;
    table().last_error(&error);
    return error;
}

inline bool says(const char * words) {
    return std::string(last_error().message).find(words) != std::string::npos;
}

inline std::vector<float> output_of(latent_cuda_program * program, const char * name) {
    std::vector<float> v(table().output_size(program, name));
    ok(table().get_output(program, name, v.data(), v.size()));
    return v;
}

/// Weights by name, rounded to what the device holds; made on the first use.
class Weights {
public:
    explicit Weights(uint32_t seed) : numbers_(seed) {}
    const std::vector<float> & matrix(const std::string & name, int out, int in, int kernel = 1) {
        return get(name, static_cast<size_t>(out) * in * kernel * kernel,
                   1.7f / std::sqrt(static_cast<float>(in * kernel * kernel)), true);
    }
    const std::vector<float> & vector(const std::string & name, int count) {
        return get(name, static_cast<size_t>(count), 0.5f, false);
    }

private:
    const std::vector<float> & get(const std::string & name, size_t count, float scale, bool round) {
        auto & v = all_[name];
        if (v.empty()) v = round ? as<latent::cuda::bf16>(numbers_.list(count, scale)) : numbers_.list(count, scale);
        return v;
    }
    Numbers numbers_;
    std::map<std::string, std::vector<float>> all_;
};

/// A value in either home: its shape, and what the home keeps of it.
struct Rows {
    int64_t batch = 0, height = 1, width = 1, channels = 0;
    int id = -1;
    std::vector<double> v;
    int64_t length() const { return height * width; }
};

struct Options {
    int stride = 1, padding = 0, activation = 0;
    bool upsample = false, geglu = false;
    const Rows *add = nullptr, *residual = nullptr;
    const Rows * low = nullptr;  // of an adapter: `rank` of its channels from `first`
    int rank = 0, first = 0;
    bool gain = false;  // of an adapter
};

/// Layers through the table.
class TableHome {
public:
    TableHome(latent_cuda_device * device, Weights & weights) : device_(device), weights_(weights) {
        ok(table().program_create(device, &program));
    }
    ~TableHome() {
        table().program_destroy(program);
        for (auto & [name, tensor] : tensors_) table().tensor_free(tensor);
    }
    Rows input_map(const char * name, int64_t n, int64_t c, int64_t h, int64_t w);
    Rows input_seq(const char * name, int64_t n, int64_t l, int64_t c);
    void output_map(const char * name, const Rows & x) { ok(table().output_map(program, name, x.id, x.height, x.width)); }
    void output_seq(const char * name, const Rows & x) { ok(table().output_seq(program, name, x.id)); }
    Rows conv(const Rows & x, const std::string & name, int out, int kernel, const Options & o = {});
    Rows linear(const Rows & x, const std::string & name, int out, const Options & o = {});
    Rows group_norm(const Rows & x, const std::string & name, int groups, int activation);
    Rows layer_norm(const Rows & x, const std::string & name);
    Rows attention(const Rows & q, const Rows & k, const Rows & v, int heads);
    Rows add(const Rows & a, const Rows & b);
    Rows concat(const Rows & a, const Rows & b);
    Rows silu(const Rows & x);
    Rows scale(const Rows & x, const std::string & name);
    Rows gate(const Rows & x);
    Rows blocks(const Rows & x, const std::string & name, int size, int distance);
    Rows fold(const Rows & x, int channels);
    Rows mix(const Rows & x, const std::string & name, int rows, int columns, const Rows * residual = nullptr);

    latent_cuda_side side(const std::string & name, int rows, const Options & o);
    latent_cuda_tensor * vector(const std::string & name, int count);
    latent_cuda_tensor * tensor(const std::string & name, const std::vector<float> & values, latent_cuda_tensor_desc desc);
    latent_cuda_tensor * any_tensor() const { return tensors_.begin()->second; }
    latent_cuda_program * program = nullptr;

private:
    latent_cuda_device * device_;
    Weights & weights_;
    std::map<std::string, latent_cuda_tensor *> tensors_;
};

/// The same in float64; inputs are given before, outputs kept.
class ExactHome {
public:
    ExactHome(Weights & weights, std::map<std::string, std::vector<float>> inputs)
        : weights_(weights), inputs_(std::move(inputs)) {}
    Rows input_map(const char * name, int64_t n, int64_t c, int64_t h, int64_t w);
    Rows input_seq(const char * name, int64_t n, int64_t l, int64_t c);
    void output_map(const char * name, const Rows & x);
    void output_seq(const char * name, const Rows & x) { outputs[name] = x.v; }
    Rows conv(const Rows & x, const std::string & name, int out, int kernel, const Options & o = {});
    Rows linear(const Rows & x, const std::string & name, int out, const Options & o = {});
    Rows group_norm(const Rows & x, const std::string & name, int groups, int activation);
    Rows layer_norm(const Rows & x, const std::string & name);
    Rows attention(const Rows & q, const Rows & k, const Rows & v, int heads);
    Rows add(const Rows & a, const Rows & b);
    Rows concat(const Rows & a, const Rows & b);
    Rows silu(const Rows & x);
    Rows scale(const Rows & x, const std::string & name);
    Rows gate(const Rows & x);
    Rows blocks(const Rows & x, const std::string & name, int size, int distance);
    Rows fold(const Rows & x, int channels);
    Rows mix(const Rows & x, const std::string & name, int rows, int columns, const Rows * residual = nullptr);
    std::map<std::string, std::vector<double>> outputs;

private:
    double side(const std::string & name, int rows, const Options & o, size_t pixel, int row);
    double gain(const std::string & name, int rows, const Options & o, int row);
    Weights & weights_;
    std::map<std::string, std::vector<float>> inputs_;
};

/// Two resolutions, a residual block with a time embedding, a transformer on a context, a skip connection.
template <typename Home>
void build_small_network(Home & home) {
    constexpr int c = 32;
    Rows emb = home.linear(home.input_seq("t", 2, 1, 24), "time0", 48, {1, 0, 1});
    emb = home.silu(home.linear(emb, "time2", 48));
    const auto res = [&](Rows x, const std::string & name, int out) {
        Rows h = home.group_norm(x, name + ".n1", 8, 1);
        const Rows e = home.linear(emb, name + ".emb", out);
        Options with_time;
        with_time.add = &e;
        h = home.group_norm(home.conv(h, name + ".c1", out, 3, with_time), name + ".n2", 8, 1);
        const Rows skip = x.channels == out ? x : home.conv(x, name + ".skip", out, 1);
        Options last;
        last.residual = &skip;
        return home.conv(h, name + ".c2", out, 3, last);
    };
    const Rows x = home.input_map("x", 2, 4, 6, 8), context = home.input_seq("context", 2, 5, 24);
    Rows h = home.conv(x, "in", c, 3);
    const Rows skip = h = res(h, "down", c);
    Options half;
    half.stride = 2;
    h = home.conv(h, "half", c, 3, half);
    // A transformer block, then the addition around it.
    Rows s = home.linear(home.group_norm(h, "t.n", 8, 0), "t.in", c);
    Rows n = home.layer_norm(s, "t.n1");
    Options onto;
    onto.residual = &s;
    Rows s2 =
        home.linear(home.attention(home.linear(n, "q", c), home.linear(n, "k", c), home.linear(n, "v", c), 2), "o", c, onto);
    n = home.layer_norm(s2, "t.n2");
    onto.residual = &s2;
    Rows s3 = home.linear(
        home.attention(home.linear(n, "q2", c), home.linear(context, "k2", c), home.linear(context, "v2", c), 4), "o2", c, onto);
    Options gated;
    gated.geglu = true;
    onto.residual = &s3;
    const Rows s4 = home.linear(home.linear(home.layer_norm(s3, "t.n3"), "ff", 64, gated), "ff2", c, onto);
    h = home.add(home.linear(s4, "t.out", c), h);
    home.output_seq("features", h);
    Options twice;
    twice.upsample = true;
    h = home.conv(h, "twice", c, 3, twice);
    h = res(home.concat(h, skip), "up", 40);
    home.output_map("out", home.conv(home.group_norm(h, "n", 8, 1), "last", 4, 3));
}

}  // namespace cuda_test
