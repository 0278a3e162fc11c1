// Times on a GPU: kernels at Stable Diffusion 1.5's shapes, a guided step, a decode. Prints one JSON document.
//   gpu_bench [--weights FILE] [--tiny] [--only kernels|networks|plans]
// "plans" measures without running: memory, launches and work, on any machine.
// With a file of weights (scripts/gpu-baseline.py export) the networks' outputs are compared with those in it.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bench/networks.h"
#include "cuda/attention.h"
#include "cuda/norm.h"
#include "stored_weights.h"

using namespace cuda_bench;
using namespace latent::cuda;
using cuda_test::Bytes;
using cuda_test::must;
using cuda_test::Numbers;

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point from) {
    return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

/// Milliseconds of one of `count` launches in a CUDA graph, the median of some replays.
double time_launches(int count, const std::function<void(int, cudaStream_t)> & work) {
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    work(0, stream);  // loads the kernels, which is not possible during a capture
    must(cudaStreamSynchronize(stream));
    must(cudaGetLastError());
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < count; ++i) work(i, stream);
    must(cudaStreamEndCapture(stream, &graph));
    must(cudaGetLastError());
    must(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t from = nullptr, to = nullptr;
    must(cudaEventCreateWithFlags(&from, 0)), must(cudaEventCreateWithFlags(&to, 0));
    std::vector<double> times;
    for (int run = 0; run < 7; ++run) {
        must(cudaEventRecord(from, stream));
        must(cudaGraphLaunch(exec, stream));
        must(cudaEventRecord(to, stream));
        must(cudaStreamSynchronize(stream));
        float took = 0;
        must(cudaEventElapsedTime(&took, from, to));
        if (run >= 2) times.push_back(took / count);
    }
    must(cudaEventDestroy(from)), must(cudaEventDestroy(to));
    must(cudaGraphExecDestroy(exec)), must(cudaGraphDestroy(graph)), must(cudaStreamDestroy(stream));
    return median(times);
}

bool first_line = true;
void item(const std::string & text) {
    std::printf("%s\n    %s", first_line ? "" : ",", text.c_str());
    std::fflush(stdout);  // is kept if the program is stopped
    first_line = false;
}

std::string number(double v) {
    if (!std::isfinite(v)) return "null";  // which JSON has no number for
    char text[40];
    std::snprintf(text, sizeof(text), "%.6g", v);
    return text;
}

constexpr int kSets = 4;  // inputs that take turns, so that a kernel does not find its last result

Bytes random_rows(size_t count, uint32_t seed) {
    return cuda_test::to_device<bf16>(Numbers(seed).list(count));
}

struct ConvShape {
    int n, height, width, in, out, kernel, stride, upsample, type;
    bool gated;
};

void time_product(const ConvShape & s, int multiprocessors, int repeat) {
    Numbers numbers(7);
    const int taps = s.kernel * s.kernel, rows = s.gated ? 2 * s.out : s.out, scale = s.upsample ? 2 : 1;
    const auto stored =
        cuda_test::StoredWeights::make(s.type, rows, s.in, taps, 1.7f / std::sqrt(static_cast<float>(s.in * taps)), numbers);
    const auto packed = cuda_test::packed_weights<bf16>(stored);
    const int oh = s.height * scale / s.stride, ow = s.width * scale / s.stride, m = s.n * oh * ow;
    std::vector<Bytes> x, y;
    for (int i = 0; i < kSets; ++i) {
        x.push_back(random_rows(static_cast<size_t>(s.n) * s.height * s.width * s.in, 10u + static_cast<uint32_t>(i)));
        y.push_back(cuda_test::room<bf16>(static_cast<size_t>(m) * s.out));
    }
    const Bytes bias = cuda_test::to_device<float>(numbers.list(static_cast<size_t>(rows)));
    const ProductPlan plan =
        plan_product(m, s.out, static_cast<int64_t>(taps) * s.in, packed.view.kind, s.gated, multiprocessors);
    const Bytes partial(product_workspace(plan, m, s.out) + 16);
    ProductArgs p;
    p.c1 = s.in, p.w = packed.view, p.bias = static_cast<const float *>(bias.data());
    p.partial = static_cast<float *>(partial.data()), p.m = m, p.columns = s.out, p.gated = s.gated;
    p.height = s.height, p.width = s.width, p.seen_height = s.height * scale, p.seen_width = s.width * scale, p.out_height = oh,
    p.out_width = ow;
    p.kernel = s.kernel, p.stride = s.stride, p.pad_top = p.pad_left = (s.kernel - 1) / 2, p.upsample = s.upsample;
    p.spatial = s.kernel > 1 || s.stride > 1 || s.upsample, p.splits = plan.splits;
    const double ms = time_launches(repeat, [&](int i, cudaStream_t stream) {
        ProductArgs each = p;
        each.x1 = x[i % kSets].data(), each.y = y[i % kSets].data();
        product<bf16>(each, plan.tile, stream);
    });
    const double flops = 2.0 * m * rows * static_cast<double>(s.in) * taps;
    const char * types[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k"};
    item("{\"kind\": \"" +
         std::string(s.gated         ? "geglu"
                     : s.kernel == 1 ? "linear"
                                     : "conv") +
         "\", \"n\": " + std::to_string(s.n) + ", \"height\": " + std::to_string(s.height) +
         ", \"width\": " + std::to_string(s.width) + ", \"in\": " + std::to_string(s.in) + ", \"out\": " + std::to_string(s.out) +
         ", \"kernel\": " + std::to_string(s.kernel) + ", \"stride\": " + std::to_string(s.stride) +
         ", \"upsample\": " + std::to_string(s.upsample) + ", \"weights\": \"" + types[s.type] +
         "\", \"tile\": " + std::to_string(static_cast<int>(plan.tile)) + ", \"splits\": " + std::to_string(plan.splits) +
         ", \"ms\": " + number(ms) + ", \"tflops\": " + number(flops / ms * 1e-9) + "}");
}

void time_attention(int batch, int heads, int dim, int queries, int keys, int repeat) {
    std::vector<Bytes> q, k, v, y;
    const size_t width = static_cast<size_t>(heads) * dim;
    for (int i = 0; i < kSets; ++i) {
        const auto seed = 20u + 3 * static_cast<uint32_t>(i);
        q.push_back(random_rows(batch * queries * width, seed)), k.push_back(random_rows(batch * keys * width, seed + 1));
        v.push_back(random_rows(batch * keys * width, seed + 2)), y.push_back(cuda_test::room<bf16>(batch * queries * width));
    }
    const double ms = time_launches(repeat, [&](int i, cudaStream_t stream) {
        const int set = i % kSets, w = static_cast<int>(width);
        attention<bf16>({q[set].data(), k[set].data(), v[set].data(), y[set].data(), w, w, w, w, batch, heads, dim, queries, keys,
                         1.0f / std::sqrt(static_cast<float>(dim)), false},
                        stream);
    });
    const double flops = 4.0 * batch * queries * static_cast<double>(keys) * static_cast<double>(width);
    item("{\"kind\": \"attention\", \"n\": " + std::to_string(batch) + ", \"heads\": " + std::to_string(heads) +
         ", \"dim\": " + std::to_string(dim) + ", \"queries\": " + std::to_string(queries) +
         ", \"keys\": " + std::to_string(keys) + ", \"ms\": " + number(ms) + ", \"tflops\": " + number(flops / ms * 1e-9) + "}");
}

void time_group_norm(int batch, int pixels, int channels, int multiprocessors, int repeat) {
    std::vector<Bytes> x, y;
    for (int i = 0; i < kSets; ++i) {
        x.push_back(random_rows(static_cast<size_t>(batch) * pixels * channels, 40u + static_cast<uint32_t>(i)));
        y.push_back(cuda_test::room<bf16>(static_cast<size_t>(batch) * pixels * channels));
    }
    const Bytes weight = cuda_test::to_device<float>(std::vector<float>(static_cast<size_t>(channels), 1.0f));
    GroupNormArgs p;
    p.c1 = p.channels = channels, p.batch = batch, p.pixels = pixels, p.groups = 32, p.eps = 1e-5f,
    p.activation = LATENT_CUDA_SILU;
    p.weight = p.bias = static_cast<const float *>(weight.data());
    plan_group_norm(p, multiprocessors);
    const Bytes moments(group_norm_workspace(p));
    p.moments = static_cast<float *>(moments.data());
    const double ms = time_launches(repeat, [&](int i, cudaStream_t stream) {
        GroupNormArgs each = p;
        each.x1 = x[i % kSets].data(), each.y = y[i % kSets].data();
        group_norm<bf16>(each, stream);
    });
    item("{\"kind\": \"group_norm\", \"n\": " + std::to_string(batch) + ", \"pixels\": " + std::to_string(pixels) +
         ", \"channels\": " + std::to_string(channels) + ", \"ms\": " + number(ms) +
         ", \"gb_s\": " + number(6.0 * batch * pixels * channels / ms * 1e-6) + "}");
}

void time_kernels(bool tiny, int multiprocessors) {
    constexpr int bf = LATENT_CUDA_BF16, q8 = LATENT_CUDA_Q8_0, q4 = LATENT_CUDA_Q4_0;
    std::vector<ConvShape> products = {
        {2, 64, 64, 320, 320, 3, 1, 0, bf, false},   {2, 64, 64, 640, 320, 3, 1, 0, bf, false},
        {2, 64, 64, 960, 320, 3, 1, 0, bf, false},   {2, 32, 32, 640, 640, 3, 1, 0, bf, false},
        {2, 32, 32, 1280, 640, 3, 1, 0, bf, false},  {2, 16, 16, 1280, 1280, 3, 1, 0, bf, false},
        {2, 16, 16, 2560, 1280, 3, 1, 0, bf, false}, {2, 8, 8, 1280, 1280, 3, 1, 0, bf, false},
        {2, 8, 8, 2560, 1280, 3, 1, 0, bf, false},   {2, 64, 64, 320, 320, 3, 2, 0, bf, false},
        {2, 32, 32, 640, 640, 3, 1, 1, bf, false},   {1, 256, 256, 256, 256, 3, 1, 0, bf, false},
        {1, 512, 512, 128, 128, 3, 1, 0, bf, false}, {2, 64, 64, 320, 320, 3, 1, 0, q8, false},
        {2, 16, 16, 1280, 1280, 3, 1, 0, q8, false}, {2, 64, 64, 320, 320, 1, 1, 0, bf, false},
        {2, 64, 64, 1280, 320, 1, 1, 0, bf, false},  {2, 32, 32, 640, 640, 1, 1, 0, bf, false},
        {2, 32, 32, 2560, 640, 1, 1, 0, bf, false},  {2, 16, 16, 1280, 1280, 1, 1, 0, bf, false},
        {2, 16, 16, 5120, 1280, 1, 1, 0, bf, false}, {2, 64, 64, 320, 1280, 1, 1, 0, bf, true},
        {2, 32, 32, 640, 2560, 1, 1, 0, bf, true},   {2, 16, 16, 1280, 5120, 1, 1, 0, bf, true},
        {2, 16, 16, 1280, 1280, 1, 1, 0, q8, false}, {2, 16, 16, 1280, 1280, 1, 1, 0, q4, false},
        {2, 32, 32, 640, 2560, 1, 1, 0, q8, true},
    };
    const int repeat = tiny ? 1 : 20;
    if (tiny) products = {{1, 4, 4, 32, 32, 3, 1, 0, bf, false}, {1, 4, 4, 32, 32, 1, 1, 0, q8, true}};
    for (const ConvShape & s : products) time_product(s, multiprocessors, repeat);
    if (tiny) {
        time_attention(1, 2, 40, 20, 20, repeat), time_group_norm(1, 16, 64, multiprocessors, repeat);
        return;
    }
    time_attention(2, 8, 40, 4096, 4096, repeat), time_attention(2, 8, 80, 1024, 1024, repeat),
        time_attention(2, 8, 160, 256, 256, repeat);
    time_attention(2, 8, 40, 4096, 77, repeat), time_attention(2, 10, 64, 4096, 4096, repeat),
        time_attention(1, 1, 512, 4096, 4096, repeat);
    time_group_norm(2, 4096, 320, multiprocessors, repeat), time_group_norm(2, 4096, 960, multiprocessors, repeat);
    time_group_norm(2, 256, 1280, multiprocessors, repeat), time_group_norm(1, 262144, 128, multiprocessors, repeat);
}

// ---- networks ----------------------------------------------------------------------------------------------------------

std::vector<float> input_numbers(const TensorFile & file, const std::string & name, size_t count, uint32_t seed) {
    return file.empty() ? Numbers(seed).list(count) : file.at(name).f32;
}

void set(Network & network, const TensorFile & file, const std::string & prefix, const char * name, uint32_t seed) {
    const auto v = input_numbers(file, prefix + name, table().input_size(network.program, name), seed);
    ok(table().set_input(network.program, name, v.data(), v.size()));
}

/// Times runs as a sampler makes them: an input in, a result out.
void time_network(Network & network, latent_cuda_device * device, const TensorFile & file, const std::string & what,
                  const char * input, const char * output, double load_ms, int runs) {
    latent_cuda_memory memory;
    std::vector<float> x(table().input_size(network.program, input)), y(table().output_size(network.program, output));
    x = input_numbers(file, what + "." + input, x.size(), 3);
    std::vector<double> whole, device_only;
    for (int run = 0; run < runs + 2; ++run) {
        const auto begin = Clock::now();
        ok(table().set_input(network.program, input, x.data(), x.size()));
        const auto in = Clock::now();
        ok(table().program_run(network.program, nullptr, nullptr));
        const double ran = milliseconds(in);
        ok(table().get_output(network.program, output, y.data(), y.size()));
        if (run >= 2) whole.push_back(milliseconds(begin)), device_only.push_back(ran);
    }
    ok(table().device_memory(device, &memory));
    std::vector<latent_cuda_launch_time> times(4096);
    int32_t count = 0;
    ok(table().program_profile(network.program, times.data(), 4096, &count));
    std::map<std::string, std::pair<double, double>> by_kind;  // time and work, by the first two words of a label
    double flops = 0;
    for (int i = 0; i < count; ++i) {
        const std::string label = times[i].label;
        const size_t space = label.find(' ');
        auto & sum = by_kind[label.substr(0, label.find(' ', space == std::string::npos ? 0 : space + 1))];
        sum.first += times[i].milliseconds, sum.second += times[i].flops, flops += times[i].flops;
    }
    std::string text =
        "{\"network\": \"" + what + "\", \"ms\": " + number(median(whole)) + ", \"run_ms\": " + number(median(device_only)) +
        ", \"fastest_ms\": " + number(*std::min_element(whole.begin(), whole.end())) + ", \"gflop\": " + number(flops * 1e-9) +
        ", \"tflops\": " + number(flops / median(whole) * 1e-9) + ", \"launches\": " + std::to_string(count) +
        ", \"load_ms\": " + number(load_ms) + ", \"weight_bytes\": " + std::to_string(memory.weights) +
        ", \"program_bytes\": " + std::to_string(memory.programs) + ", \"peak_bytes\": " + std::to_string(memory.peak) +
        ", \"device_used_bytes\": " + std::to_string(memory.total - memory.free);  // by all, rounded by the driver
    if (!file.empty()) {
        const StoredTensor & expected = file.at(what + "." + output);
        text += ", \"error\": " + number(cuda_test::error_of(y, {expected.f32.begin(), expected.f32.end()}));
    }
    text += ", \"profile\": {";
    bool first = true;
    for (const auto & [kind, sum] : by_kind) {
        if (!first) text += ", ";
        text += "\"" + kind + "\": [" + number(sum.first) + ", " + number(sum.second * 1e-9) + "]";
        first = false;
    }
    item(text + "}}");
}

void time_networks(const TensorFile & file, bool tiny) {
    for (const int type : {LATENT_CUDA_F16, LATENT_CUDA_Q8_0}) {
        for (const int element : {LATENT_CUDA_BF16, LATENT_CUDA_F16}) {
            if (type == LATENT_CUDA_Q8_0 && element == LATENT_CUDA_F16) continue;
            latent_cuda_device * device = nullptr;
            ok(table().device_open(0, element, &device));
            {
                latent_cuda_memory memory;
                ok(table().device_memory(device, &memory));
                item("{\"element\": \"" + std::string(element == LATENT_CUDA_F16 ? "f16" : "bf16") + "\", \"weights\": \"" +
                     (type == LATENT_CUDA_F16 ? "16 bits" : "q8_0") +
                     "\", \"device_used_bytes\": " + std::to_string(memory.total - memory.free) + "}");
                const auto begin = Clock::now();
                Network network(device, file, "unet.", type);
                network.build_unet(tiny ? UNetShape::tiny() : UNetShape{});
                network.finish();
                const double loaded = milliseconds(begin);
                set(network, file, "unet.", "timestep", 1), set(network, file, "unet.", "context", 2);
                time_network(network, device, file, "unet", "x", "out", loaded, tiny ? 1 : 30);
            }
            table().memory_reset_peak(device);
            {
                const auto begin = Clock::now();
                Network network(device, file, "decoder.", type);
                network.build_decoder(tiny ? DecoderShape::tiny() : DecoderShape{});
                network.finish();
                time_network(network, device, file, "decoder", "latents", "image", milliseconds(begin), tiny ? 1 : 5);
            }
            table().device_close(device);
        }
    }
}

void print_plans() {
    latent_cuda_device * device = nullptr;
    ok(table().device_open(0, LATENT_CUDA_BF16, &device));
    for (const int type : {LATENT_CUDA_F16, LATENT_CUDA_Q8_0}) {
        for (const bool unet : {true, false}) {
            const TensorFile none;
            Network network(device, none, "", type, false);
            unet ? network.build_unet({}) : network.build_decoder({});
            latent_cuda_measure m;
            ok(table().program_measure(network.program, &m));
            item("{\"network\": \"" + std::string(unet ? "unet" : "decoder") + "\", \"weights\": \"" +
                 (type == LATENT_CUDA_F16 ? "16 bits" : "q8_0") +
                 "\", \"weight_bytes\": " + std::to_string(network.weight_bytes()) +
                 ", \"program_bytes\": " + std::to_string(m.bytes) + ", \"gflop\": " + number(m.flops * 1e-9) +
                 ", \"launches\": " + std::to_string(m.launches) + ", \"graphs\": " + std::to_string(m.slices) + "}");
        }
    }
    table().device_close(device);
}

}  // namespace

int main(int argc, char ** argv) {
    std::string weights, only;
    bool tiny = false;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--tiny") tiny = true;
        if (word == "--weights" && i + 1 < argc) weights = argv[++i];
        if (word == "--only" && i + 1 < argc) only = argv[++i];
    }
    try {
        latent_cuda_device_info info;
        ok(table().device_info(0, &info));
        std::printf("{\"device\": \"%s\", \"compute\": \"%d.%d\", \"multiprocessors\": %d, \"driver\": %d", info.name,
                    info.compute_major, info.compute_minor, info.multiprocessors, info.driver_version);
        if (only == "plans") {
            std::printf(",\n  \"plans\": [");
            print_plans();
            std::printf("\n  ]");
        }
        if (only.empty() || only == "kernels") {
            std::printf(",\n  \"kernels\": [");
            time_kernels(tiny, info.multiprocessors);
            std::printf("\n  ]");
        }
        if (only.empty() || only == "networks") {
            const TensorFile file = weights.empty() ? TensorFile() : TensorFile(weights);
            first_line = true;
            std::printf(",\n  \"networks\": [");
            time_networks(file, tiny);
            std::printf("\n  ]");
        }
        std::printf("\n}\n");
    } catch (const std::exception & e) {
        std::fflush(stdout);
        std::fprintf(stderr, "gpu_bench: %s\n", e.what());
        return 1;
    }
    return 0;
}
