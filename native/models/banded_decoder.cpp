#include "models/banded_decoder.h"

#include <algorithm>

#include "core/memory.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::Graph;
using graph::Map;
using graph::Ops;
using graph::Seq;

/// One pass over a map: a convolution, maybe of the normalised map, and maybe a second one of the map as it is (the shortcut).
struct BandedDecoder::Step {
    std::string name;
    const graph::Conv * conv = nullptr;
    const graph::Norm * norm = nullptr;  // with SiLU, before the convolution
    const graph::Conv * shortcut = nullptr;
    bool upsample = false;
    bool keeps_input = false;  // a later step reads it again
    bool last = false;         // rows go into the picture

    int64_t scale() const { return upsample ? 2 : 1; }
    int64_t halo() const { return (conv->kernel - 1) / 2; }
};

/// Output rows [first, first + rows) and the input rows that they need.
struct BandedDecoder::Band {
    int64_t first, rows, input_first, input_rows;
};

BandedDecoder::BandedDecoder(const StageLayers & layers, const graph::WeightStore & weights, graph::Runner & runner, DType type)
    : layers_(layers), weights_(weights), runner_(runner), type_(type), pool_(weights.device()->host_pool()) {}

int64_t BandedDecoder::band_rows(const StoredMap & x) const {
    constexpr int64_t kFewest = 4;
    const uint64_t row = static_cast<uint64_t>(x.channels() * x.width()) * sizeof(float);
    return std::max(kFewest, static_cast<int64_t>(runner_.limits().band / row));
}

graph::GraphBuilder BandedDecoder::band_graph(const StoredMap & x, const Step & step, const Band & band) const {
    const int64_t channels = x.channels(), width = x.width();
    return [=](Ops & ops) {
        const Map raw = ops.to_map(ops.input_seq("x", channels, width * band.input_rows, 1), width, band.input_rows);
        Map h = raw;
        if (step.norm) {
            const Seq scale = ops.input_seq("scale", channels, 1, 1), shift = ops.input_seq("shift", channels, 1, 1);
            h = ops.affine(raw, scale, shift, Activation::silu);
        }
        ConvOptions options;
        options.upsample = step.upsample;
        options.first_row = band.first - band.input_first * step.scale();
        options.rows = band.rows;
        ops.output("y", ops.to_seq(ops.conv(h, *step.conv, options)));
        if (step.shortcut) ops.output("shortcut", ops.to_seq(ops.conv(raw, *step.shortcut, options)));
    };
}

/// Room for what goes into a graph and what comes out of it.
void BandedDecoder::stage(size_t input, size_t output, size_t shortcut) {
    const size_t sizes[] = {input, output, shortcut};
    std::vector<float> * const buffers[] = {&input_, &output_, &shortcut_};
    for (int i = 0; i < 3; ++i) {
        if (sizes[i] > staged_[i]) {
            count_.add((sizes[i] - staged_[i]) * sizeof(float));
            staged_[i] = sizes[i];
            if (job_) buffers[i]->reserve(sizes[i]);
        }
        if (job_) buffers[i]->resize(sizes[i]);
    }
}

/// Leaves the result in output_ and the shortcut's in shortcut_.
void BandedDecoder::run_band(const StoredMap & x, const Step & step, const Band & band) {
    const auto size = [](int64_t channels, int64_t rows, int64_t width) { return static_cast<size_t>(channels * rows * width); };
    const size_t in = size(x.channels(), band.input_rows, x.width()),
                 out = size(step.conv->out, band.rows, x.width() * step.scale()),
                 shortcut = step.shortcut ? size(step.shortcut->out, band.rows, x.width()) : 0;
    const graph::GraphBuilder build = band_graph(x, step, band);
    stage(in, out, shortcut);
    const std::string key = step.name + " " + std::to_string(x.width()) + "x" + std::to_string(band.input_rows) + " " +
                            std::to_string(band.first - band.input_first * step.scale()) + "+" + std::to_string(band.rows);
    if (!job_) {
        const auto known = measured_.find(key);
        const uint64_t bytes = known != measured_.end() ? known->second : measured_[key] = runner_.measure(build).bytes;
        return count_.touch(bytes);
    }
    job_->check();
    x.read(band.input_first, band.input_rows, input_.data(), pool_);
    if (key != graph_key_) runner_.clear();  // one graph at a time
    graph_key_ = key;
    Graph & graph = runner_.prepare(key, build);
    graph.set_input("x", Span<const float>(input_));
    if (step.norm) {
        graph.set_input("scale", Span<const float>(scale_));
        graph.set_input("shift", Span<const float>(shift_));
    }
    graph.compute(*job_->cancel);
    graph.get_output("y", output_);
    if (step.shortcut) graph.get_output("shortcut", shortcut_);
}

/// Frees graphs so that their memory is the system's again, not the allocator's.
void BandedDecoder::clear() {
    runner_.clear();
    if (job_) trim_heap();
}

void BandedDecoder::write(StoredMap & map, int64_t first, std::vector<float> & values, const StoredMap * residual) {
    if (!map.write(first, values.data(), residual, pool_)) throw MapOverflow{};
}

/// The map that `step` makes of x, and its shortcut's. `residual`, of the result's size, is added. Maps are eaten as they are
/// read. The last step makes no map: its rows go into the picture.
std::vector<StoredMap> BandedDecoder::convolve(StoredMap & x, const Step & step, StoredMap * residual, Span<float> image) {
    if (step.norm && job_) {
        x.normaliser(norm_silu.groups, norm_silu.eps, weights_.values(*step.norm->weight), weights_.values(*step.norm->bias),
                     scale_, shift_);
    }
    const int64_t scale = step.scale(), height = x.height() * scale, width = x.width() * scale;
    const int64_t rows = std::min(height, band_rows(x) * scale);
    std::vector<StoredMap> made;
    made.reserve(2);
    if (!step.last) made.emplace_back(step.conv->out, height, width, rows, type_, !job_, count_);
    if (step.shortcut) made.emplace_back(step.shortcut->out, height, width, rows, type_, !job_, count_);
    for (int64_t first = 0; first < height; first += rows) {
        Band band;
        band.first = first;
        band.rows = std::min(rows, height - first);
        const int64_t end = first + band.rows;
        band.input_first = std::max<int64_t>(0, first / scale - step.halo());
        band.input_rows = std::min(x.height(), end / scale + step.halo()) - band.input_first;
        run_band(x, step, band);
        if (!step.keeps_input) x.free_before(end == height ? x.height() : end / scale - step.halo());
        if (step.last) {
            const int64_t channels = step.conv->out;
            for (int64_t c = 0; job_ && c < channels; ++c) {
                float * plane = image.data() + (c * height + first) * width;
                for (int64_t i = 0; i < band.rows * width; ++i) plane[i] = output_[static_cast<size_t>(i * channels + c)];
            }
            continue;
        }
        write(made[0], first, output_, residual);
        if (residual) residual->free_before(end);
        if (step.shortcut) write(made[1], first, shortcut_);
    }
    clear();  // the next layer has other graphs
    return made;
}

StoredMap BandedDecoder::block(StoredMap x, const StageBlock & w, const std::string & name) {
    Step first{name + ".conv1", &w.conv1, &w.norm1};
    if (w.shortcut) first.shortcut = &*w.shortcut;
    first.keeps_input = !w.shortcut;
    std::vector<StoredMap> made = convolve(x, first, nullptr, {});
    StoredMap & residual = w.shortcut ? made[1] : x;
    return std::move(convolve(made[0], {name + ".conv2", &w.conv2, &w.norm2}, &residual, {})[0]);
}

/// Runs, or measures, a graph from x to y over input_ and output_.
void BandedDecoder::whole_graph(const std::string & name, const graph::GraphBuilder & build) {
    if (!job_) return count_.touch(runner_.measure(build).bytes);
    Graph & graph = runner_.prepare(name, build);
    graph.set_input("x", Span<const float>(input_));
    graph.compute(*job_->cancel);
    graph.get_output("y", output_);
    clear();
}

StoredMap BandedDecoder::attention(StoredMap x, const StageAttention & w, const std::string & name) {
    const int64_t channels = x.channels(), height = x.height(), width = x.width();
    const size_t size = static_cast<size_t>(channels * height * width);
    stage(size, size, 0);
    if (job_) x.read(0, height, input_.data(), pool_);
    x.free_before(height);
    whole_graph(name, [&](Ops & ops) {
        const Map map = ops.to_map(ops.input_seq("x", channels, width * height, 1), width, height);
        ops.output("y", ops.to_seq(run(ops, map, w)));
    });
    StoredMap y(channels, height, width, height, type_, !job_, count_);
    write(y, 0, output_);
    return y;
}

/// Everything at the resolution of the latents before the first level: small, so in one graph.
StoredMap BandedDecoder::front(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width) {
    const int64_t channels = layers_.decoder_in.out;
    stage(static_cast<size_t>(embed_dim * height * width), static_cast<size_t>(channels * height * width), 0);
    if (job_) std::copy(latents.begin(), latents.end(), input_.begin());
    whole_graph("front", [&](Ops & ops) {
        Map h = ops.input_map("x", width, height, embed_dim, 1);
        if (layers_.post_quant) h = ops.conv(h, *layers_.post_quant, {});
        ops.output("y", ops.to_seq(run(ops, ops.conv(h, layers_.decoder_in, {}), layers_.decoder_middle)));
    });
    StoredMap map(channels, height, width, height, type_, !job_, count_);
    write(map, 0, output_);
    return map;
}

void BandedDecoder::decode_maps(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image) {
    StoredMap x = front(latents, embed_dim, height, width);
    for (size_t i = 0; i < layers_.up.size(); ++i) {
        const StageLevel & level = layers_.up[i];
        const std::string name = "up." + std::to_string(i);
        for (size_t j = 0; j < level.blocks.size(); ++j) {
            x = block(std::move(x), level.blocks[j], name + ".block." + std::to_string(j));
            if (!level.attentions.empty()) x = attention(std::move(x), level.attentions[j], name + ".attn." + std::to_string(j));
        }
        if (!level.resample) continue;
        Step step{name + ".upsample", &*level.resample};
        step.upsample = true;
        x = std::move(convolve(x, step, nullptr, {})[0]);
    }
    Step out{"out", &layers_.decoder_out, &layers_.decoder_norm};
    out.last = true;
    convolve(x, out, nullptr, image);
}

void BandedDecoder::decode(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image,
                           const JobContext & job) {
    job_ = &job;
    decode_maps(latents, embed_dim, height, width, image);
}

uint64_t BandedDecoder::measure(int64_t embed_dim, int64_t height, int64_t width) {
    job_ = nullptr;
    decode_maps({}, embed_dim, height, width, {});
    return count_.peak;
}

}  // namespace latent::models
