#include "models/banded_stage.h"

#include <algorithm>

#include "core/memory.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::Graph;
using graph::Map;
using graph::Ops;
using graph::Padding;
using graph::Seq;

namespace {

/// Lets successive graphs reuse memory during its lifetime.
class ReusedMemory {
public:
    explicit ReusedMemory(graph::Device & device) : device_(device) { device_.reuse_memory(true); }
    ~ReusedMemory() { device_.reuse_memory(false); }
    ReusedMemory(const ReusedMemory &) = delete;
    ReusedMemory & operator=(const ReusedMemory &) = delete;

private:
    graph::Device & device_;
};

}  // namespace

/// One pass over a map: a convolution, possibly of the normalised map, and possibly a second one of the unnormalised map (the
/// shortcut).
struct BandedStage::Step {
    std::string name;
    const graph::Conv * conv = nullptr;
    const graph::Norm * norm = nullptr;  // with SiLU, before the convolution
    const graph::Conv * shortcut = nullptr;
    Resample resample = Resample::none;
    bool keeps_input = false;  // a later step reads it again
    bool last = false;         // rows are written to the image

    int64_t halo() const { return (conv->kernel - 1) / 2; }
    /// Number of rows or columns of the result for this many of the input.
    int64_t result(int64_t input) const {
        return resample == Resample::twice ? 2 * input : resample == Resample::half ? input / 2 : input;
    }
    /// The range of input rows needed for result rows from `first` up to `end`, which is not included. Downsampling pads only on
    /// the right and at the bottom.
    int64_t reads_from(int64_t first) const {
        return resample == Resample::twice ? first / 2 - halo() : resample == Resample::half ? 2 * first : first - halo();
    }
    int64_t reads_to(int64_t end) const {
        return resample == Resample::twice ? end / 2 + halo() : resample == Resample::half ? 2 * end + 1 : end + halo();
    }
};

/// Output rows [first, first + rows) and the input rows that they need.
struct BandedStage::Band {
    int64_t first, rows, input_first, input_rows;
};

BandedStage::BandedStage(const StageLayers & layers, const graph::WeightStore & weights, graph::Runner & runner, DType type)
    : layers_(layers), weights_(weights), runner_(runner), type_(type), pool_(weights.device()->host_pool()) {}

/// Rows of x per band: as many as fit the limit, counted in the input's channels or the result's if it has more. Even, so that
/// they can be downsampled.
int64_t BandedStage::band_rows(const StoredMap & x, const Step & step) const {
    constexpr int64_t kFewest = 4;
    const uint64_t row = static_cast<uint64_t>(std::max(x.channels(), step.conv->out) * x.width()) * sizeof(float);
    return std::max(kFewest, static_cast<int64_t>(runner_.limits().band / row) / 2 * 2);
}

graph::GraphBuilder BandedStage::band_graph(const StoredMap & x, const Step & step, const Band & band) const {
    const int64_t channels = x.channels(), width = x.width();
    return [=](Ops & ops) {
        const Map raw = ops.to_map(ops.input_seq("x", channels, width * band.input_rows, 1), width, band.input_rows);
        Map h = raw;
        if (step.norm) {
            const Seq scale = ops.input_seq("scale", channels, 1, 1), shift = ops.input_seq("shift", channels, 1, 1);
            h = ops.affine(raw, scale, shift, Activation::silu);
        }
        ConvOptions options;
        options.upsample = step.resample == Resample::twice;
        if (step.resample == Resample::half) options.stride = 2, options.padding = Padding::right_bottom;
        options.first_row = band.first - step.result(band.input_first);
        options.rows = band.rows;
        ops.output("y", ops.to_seq(ops.conv(h, *step.conv, options)));
        if (step.shortcut) ops.output("shortcut", ops.to_seq(ops.conv(raw, *step.shortcut, options)));
    };
}

/// The results stay where they are until the graph is cleared or run again: on the CPU in the graph, elsewhere in copies. `fill`
/// writes the input.
template <typename Fill>
BandedStage::Results BandedStage::run_graph(Graph & graph, bool shortcut, const Fill & fill) {
    job_->check();
    const bool host = weights_.device()->shares_host_memory();
    if (host) {
        fill(graph.host_input("x").data());
    } else {
        input_.resize(graph.input_size("x"));
        fill(input_.data());
        graph.set_input("x", Span<const float>(input_));
    }
    graph.compute(*job_->cancel);
    if (host) return {graph.host_output("y"), shortcut ? graph.host_output("shortcut") : Span<float>()};
    const auto copy = [&](const char * name, std::vector<float> & values) {
        values.resize(graph.output_size(name));
        graph.get_output(name, values);
        return Span<float>(values);
    };
    return {copy("y", output_), shortcut ? copy("shortcut", shortcut_) : Span<float>()};
}

/// Counts the memory of a graph, and of copies of its input and output if there are any.
BandedStage::Results BandedStage::count_graph(const std::string & key, const graph::GraphBuilder & build, size_t numbers) {
    const auto known = measured_.find(key);
    const uint64_t bytes = known != measured_.end() ? known->second : measured_[key] = runner_.measure(build).bytes;
    counted_ = bytes + (weights_.device()->shares_host_memory() ? 0 : numbers * sizeof(float));
    memory_.touch(counted_);
    return {};
}

BandedStage::Results BandedStage::run_band(const StoredMap & x, const Step & step, const Band & band) {
    const graph::GraphBuilder build = band_graph(x, step, band);
    const std::string key = step.name + " " + std::to_string(x.width()) + "x" + std::to_string(band.input_rows) + " " +
                            std::to_string(band.first - step.result(band.input_first)) + "+" + std::to_string(band.rows);
    if (!job_) {
        const int64_t out = step.conv->out + (step.shortcut ? step.shortcut->out : 0);
        return count_graph(
            key, build,
            static_cast<size_t>(x.channels() * band.input_rows * x.width() + out * band.rows * step.result(x.width())));
    }
    if (key != graph_key_) runner_.clear();  // keep only one graph
    graph_key_ = key;
    Graph & graph = runner_.prepare(key, build);
    if (step.norm) {
        graph.set_input("scale", Span<const float>(scale_));
        graph.set_input("shift", Span<const float>(shift_));
    }
    return run_graph(graph, step.shortcut != nullptr, [&](float * to) { x.read(band.input_first, band.input_rows, to, pool_); });
}

/// Frees graphs and returns their memory to the system instead of keeping it in the allocator.
void BandedStage::clear() {
    runner_.clear();
    if (job_) trim_heap();
}

void BandedStage::write(StoredMap & map, int64_t first, int64_t rows, Span<float> values, const StoredMap * residual) {
    if (!map.write(first, rows, values.data(), residual, pool_)) throw MapOverflow{};
    if (!job_) memory_.touch(counted_);  // the graph exists while its result is written
}

/// Applies `step` to x; returns the result and the shortcut's result. `residual`, of the result's size, is added. Maps are freed
/// while they are read. The last step makes no map: its rows are written to the image.
std::vector<StoredMap> BandedStage::convolve(StoredMap & x, const Step & step, StoredMap * residual, Span<float> picture) {
    if (step.norm && job_) {
        x.normaliser(norm_silu.groups, norm_silu.eps, weights_.values(*step.norm->weight), weights_.values(*step.norm->bias),
                     scale_, shift_);
    }
    const int64_t height = step.result(x.height()), width = step.result(x.width());
    const int64_t rows = std::min(height, step.result(band_rows(x, step)));
    std::vector<StoredMap> made;
    made.reserve(2);
    if (!step.last) made.emplace_back(step.conv->out, height, width, type_, !job_, memory_);
    if (step.shortcut) made.emplace_back(step.shortcut->out, height, width, type_, !job_, memory_);
    memory_.expect(made.empty() ? 0 : made[0].band_bytes());
    for (int64_t first = 0; first < height; first += rows) {
        const int64_t end = std::min(first + rows, height);
        const int64_t input_first = std::max<int64_t>(0, step.reads_from(first));
        const Band band{first, end - first, input_first, std::min(x.height(), step.reads_to(end)) - input_first};
        const Results results = run_band(x, step, band);
        if (!step.keeps_input) x.free_before(end == height ? x.height() : step.reads_from(end));
        if (step.last) {
            const int64_t channels = step.conv->out;
            for (int64_t c = 0; job_ && c < channels; ++c) {
                float * plane = picture.data() + (c * height + first) * width;
                for (int64_t i = 0; i < band.rows * width; ++i) plane[i] = results.y[static_cast<size_t>(i * channels + c)];
            }
            continue;
        }
        write(made[0], first, band.rows, results.y, residual);
        if (residual) residual->free_before(end);
        if (step.shortcut) write(made[1], first, band.rows, results.shortcut);
    }
    clear();  // the next layer needs other graphs
    return made;
}

StoredMap BandedStage::block(StoredMap x, const StageBlock & w, const std::string & name) {
    Step first{name + ".conv1", &w.conv1, &w.norm1};
    if (w.shortcut) first.shortcut = &*w.shortcut;
    first.keeps_input = !w.shortcut;
    std::vector<StoredMap> made = convolve(x, first, nullptr, {});
    StoredMap & residual = w.shortcut ? made[1] : x;
    return std::move(convolve(made[0], {name + ".conv2", &w.conv2, &w.norm2}, &residual, {})[0]);
}

/// Runs, or only counts, a graph from x to y, passes its result to `take` and frees it. `numbers`: elements of input and result.
template <typename Fill, typename Take>
void BandedStage::whole_graph(const std::string & name, const graph::GraphBuilder & build, size_t numbers, const Fill & fill,
                              const Take & take) {
    memory_.expect(0);
    if (!job_) {
        take(count_graph(name, build, numbers).y);
    } else {
        take(run_graph(runner_.prepare(name, build), false, fill).y);
        clear();
    }
}

StoredMap BandedStage::attention(StoredMap x, const StageAttention & w, const std::string & name) {
    const int64_t channels = x.channels(), height = x.height(), width = x.width();
    StoredMap y(channels, height, width, type_, !job_, memory_);
    const auto build = [&](Ops & ops) {
        const Map map = ops.to_map(ops.input_seq("x", channels, width * height, 1), width, height);
        ops.output("y", ops.to_seq(run(ops, map, w)));
    };
    if (!job_) x.free_before(height);
    whole_graph(
        name, build, static_cast<size_t>(2 * channels * height * width), [&](float * to) { x.read_all(to, pool_); },
        [&](Span<float> values) { write(y, 0, height, values); });
    return y;
}

StoredMap BandedStage::run_levels(StoredMap x, const std::vector<StageLevel> & levels, const std::string & name,
                                  Resample resample) {
    for (size_t i = 0; i < levels.size(); ++i) {
        const StageLevel & level = levels[i];
        const std::string at = name + "." + std::to_string(i);
        for (size_t j = 0; j < level.blocks.size(); ++j) {
            x = block(std::move(x), level.blocks[j], at + ".block." + std::to_string(j));
            if (!level.attentions.empty()) x = attention(std::move(x), level.attentions[j], at + ".attn." + std::to_string(j));
        }
        if (!level.resample) continue;
        Step step{at + ".resample", &*level.resample};
        step.resample = resample;
        x = std::move(convolve(x, step, nullptr, {})[0]);
    }
    return x;
}

/// Layers at the resolution of the latents, after the last level, are small: one graph for all.
void BandedStage::encode_maps(Span<const float> image, int64_t height, int64_t width, Span<float> moments) {
    StoredMap picture(image, layers_.encoder_in.in, height, width, memory_);
    StoredMap x = std::move(convolve(picture, {"in", &layers_.encoder_in}, nullptr, {})[0]);
    x = run_levels(std::move(x), layers_.down, "down", Resample::half);

    const int64_t channels = x.channels(), h = x.height(), w = x.width();
    const auto build = [&](Ops & ops) {
        Map y = run(ops, ops.to_map(ops.input_seq("x", channels, w * h, 1), w, h), layers_.encoder_middle);
        y = ops.conv(ops.group_norm(y, layers_.encoder_norm, norm_silu), layers_.encoder_out, {});
        ops.output("y", layers_.quant ? ops.conv(y, *layers_.quant, {}) : y);
    };
    const int64_t out = layers_.quant ? layers_.quant->out : layers_.encoder_out.out;
    if (!job_) x.free_before(h);
    whole_graph(
        "back", build, static_cast<size_t>((channels + out) * h * w), [&](float * to) { x.read_all(to, pool_); },
        [&](Span<float> values) { std::copy(values.begin(), values.end(), moments.begin()); });
}

/// Layers at the resolution of the latents, before the first level, are one graph as well.
void BandedStage::decode_maps(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image) {
    const int64_t channels = layers_.decoder_in.out;
    StoredMap x(channels, height, width, type_, !job_, memory_);
    const auto build = [&](Ops & ops) {
        Map h = ops.input_map("x", width, height, embed_dim, 1);
        if (layers_.post_quant) h = ops.conv(h, *layers_.post_quant, {});
        ops.output("y", ops.to_seq(run(ops, ops.conv(h, layers_.decoder_in, {}), layers_.decoder_middle)));
    };
    whole_graph(
        "front", build, static_cast<size_t>((embed_dim + channels) * height * width),
        [&](float * to) { std::copy(latents.begin(), latents.end(), to); },
        [&](Span<float> values) { write(x, 0, height, values); });

    x = run_levels(std::move(x), layers_.up, "up", Resample::twice);
    Step out{"out", &layers_.decoder_out, &layers_.decoder_norm};
    out.last = true;
    convolve(x, out, nullptr, image);
}

void BandedStage::encode(Span<const float> image, int64_t height, int64_t width, Span<float> moments, const JobContext & job) {
    const ReusedMemory reused(*weights_.device());
    job_ = &job;
    encode_maps(image, height, width, moments);
}

void BandedStage::decode(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image,
                         const JobContext & job) {
    const ReusedMemory reused(*weights_.device());
    job_ = &job;
    decode_maps(latents, embed_dim, height, width, image);
}

uint64_t BandedStage::measure_encode(int64_t height, int64_t width) {
    job_ = nullptr;
    encode_maps({}, height, width, {});
    return memory_.peak();
}

uint64_t BandedStage::measure_decode(int64_t embed_dim, int64_t height, int64_t width) {
    job_ = nullptr;
    decode_maps({}, embed_dim, height, width, {});
    return memory_.peak();
}

}  // namespace latent::models
