#include "models/clip_text.h"

#include <algorithm>
#include <vector>

#include "models/clip_layers.h"

namespace latent::models {

using graph::Ops;
using graph::Seq;

ClipText::ClipText(const ClipTextConfig & config, graph::DevicePtr device, const std::string & prefix)
    : TokenEncoder(device, ModelPart::text_encoder),
      config_(config),
      layers_(networks::declare_clip_text(config, weights_.declared(), prefix)) {
    clip_activation(config.hidden_act);
}

int ClipText::blocks_to_run(int clip_skip) const {
    const int skip = clip_skip > 0 ? clip_skip - 1 : config_.skip_layers;
    if (clip_skip < 0 || skip >= config_.num_hidden_layers) {
        throw Error(ErrorCode::invalid_argument, "clip skip " + std::to_string(clip_skip) +
                                                     " is out of range: this text encoder has " +
                                                     std::to_string(config_.num_hidden_layers) + " layers");
    }
    return config_.num_hidden_layers - skip;
}

void ClipText::check_runs(const TokenRuns & runs, int64_t batch, int64_t length) const {
    int64_t end = 0;
    for (const TokenRun & run : runs) {
        const bool fits = batch == 1 && run.first >= end && run.count > 0 && run.count <= length - run.first;
        if (!fits) throw Error(ErrorCode::invalid_argument, "Vectors exceed their window of tokens");
        require_size(run.values.size(), run.count * config_.hidden_size, "embedding");
        end = run.first + run.count;
    }
}

/// Embeds the tokens and inserts the vectors at their positions, piece by piece.
Seq ClipText::tokens(Ops & ops, int64_t batch, int64_t length, const TokenRuns & runs) const {
    if (runs.empty()) return ops.embed(ops.input_ids("ids", length, batch), layers_.tokens);
    Seq all;
    const auto add = [&](Seq piece) { all = all ? ops.concat(all, piece) : piece; };
    int64_t at = 0;
    for (const TokenRun & run : runs) {
        if (run.first > at) add(ops.embed(ops.input_ids("ids " + std::to_string(at), run.first - at, 1), layers_.tokens));
        add(ops.input_seq("vectors " + std::to_string(run.first), config_.hidden_size, run.count, 1));
        at = run.first + run.count;
    }
    if (at < length) add(ops.embed(ops.input_ids("ids " + std::to_string(at), length - at, 1), layers_.tokens));
    return all;
}

/// Part of the key of a graph.
std::string ClipText::pattern(const TokenRuns & runs) {
    std::string text;
    for (const TokenRun & run : runs) text += " " + std::to_string(run.first) + "+" + std::to_string(run.count);
    return text;
}

void ClipText::set_tokens(graph::Graph & graph, Span<const int32_t> ids, const TokenRuns & runs) const {
    if (runs.empty()) return graph.set_input("ids", ids);
    int64_t at = 0;
    const auto set_ids = [&](int64_t end) {
        if (end <= at) return;
        graph.set_input("ids " + std::to_string(at), Span<const int32_t>(ids.data() + at, static_cast<size_t>(end - at)));
    };
    for (const TokenRun & run : runs) {
        set_ids(run.first);
        graph.set_input("vectors " + std::to_string(run.first), run.values);
        at = run.first + run.count;
    }
    set_ids(static_cast<int64_t>(ids.size()));
}

/// The context after `blocks` layers; with `all` also the output of all layers, before the final norm.
void ClipText::build(Ops & ops, int64_t batch, int64_t length, int blocks, bool norm, bool all, const TokenRuns & runs) const {
    const networks::ClipTextLayers & l = layers_;
    const ClipLayerOptions options{config_.num_attention_heads, true, clip_activation(config_.hidden_act),
                                   static_cast<float>(config_.layer_norm_eps)};
    Seq x = ops.add_positions(tokens(ops, batch, length, runs), l.positions);
    for (int i = 0; i < blocks; ++i) x = clip_layer(ops, x, l.layers[static_cast<size_t>(i)], options);
    ops.output("context", norm ? ops.layer_norm(x, l.final_norm, options.eps) : x);
    if (!all) return;
    for (int i = blocks; i < config_.num_hidden_layers; ++i) x = clip_layer(ops, x, l.layers[static_cast<size_t>(i)], options);
    ops.output("hidden", x);
}

void ClipText::forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                       const JobContext & job) {
    const int blocks = blocks_to_run(clip_skip);
    check(ids, batch, length, context.size());
    const std::string key = std::to_string(batch) + "x" + std::to_string(length) + " " + std::to_string(blocks);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, batch, length, blocks, config_.final_norm, false); });
    graph.set_input("ids", ids);
    graph.compute(*job.cancel);
    graph.get_output("context", context);
}

void ClipText::forward_with(const TokenRuns & runs, Span<const int32_t> ids, int clip_skip, Span<float> context,
                            const JobContext & job) {
    const int blocks = blocks_to_run(clip_skip);
    const int64_t length = static_cast<int64_t>(ids.size());
    check(ids, 1, length, context.size());
    check_runs(runs, 1, length);
    const std::string key = "1x" + std::to_string(length) + " " + std::to_string(blocks) + pattern(runs);
    graph::Graph & graph =
        runner_.prepare(key, [&](Ops & ops) { build(ops, 1, length, blocks, config_.final_norm, false, runs); });
    set_tokens(graph, ids, runs);
    graph.compute(*job.cancel);
    graph.get_output("context", context);
}

void ClipText::require_projection() const {
    if (layers_.projection && (!weights_.planned() || layers_.projection->present())) return;
    throw Error(ErrorCode::unsupported_model, "This text encoder has no text_projection, so it cannot make text embeddings",
                Json{{"found", "CLIPTextModel"}, {"nearest", "CLIPTextModelWithProjection"}}.dump());
}

/// The position of the first end-of-text token of each window.
std::vector<int64_t> ClipText::ends_of(Span<const int32_t> ids, int64_t batch, int64_t length) const {
    std::vector<int64_t> ends;
    for (int64_t row = 0; row < batch; ++row) {
        const int32_t * window = ids.data() + row * length;
        ends.push_back(std::find(window, window + length, config_.eos_token_id) - window);
        if (ends.back() == length)
            throw Error(ErrorCode::invalid_argument, "A prompt has no end-of-text token, which its embedding needs");
    }
    return ends;
}

/// Applies final norm and projection to the tokens at `ends` of hidden [batch, length, width].
void ClipText::project(const std::vector<float> & hidden, const std::vector<int64_t> & ends, int64_t length,
                       Span<float> projected, const JobContext & job) {
    const int64_t width = config_.hidden_size, batch = static_cast<int64_t>(ends.size());
    std::vector<float> pooled;
    for (int64_t row = 0; row < batch; ++row) {
        const auto token = hidden.begin() + (row * length + ends[static_cast<size_t>(row)]) * width;
        pooled.insert(pooled.end(), token, token + width);
    }
    const ClipHead head{layers_.final_norm, layers_.projection, static_cast<float>(config_.layer_norm_eps)};
    graph::Graph & graph =
        runner_.prepare("head " + std::to_string(batch), [&](Ops & ops) { build_clip_head(ops, batch, head); });
    graph.set_input("pooled", Span<const float>(pooled));
    graph.compute(*job.cancel);
    graph.get_output("embeds", projected);
}

void ClipText::embed(Span<const int32_t> ids, int64_t batch, int64_t length, Span<float> projected, const JobContext & job) {
    require_projection();
    std::vector<float> hidden(static_cast<size_t>(batch * length * config_.hidden_size));
    check(ids, batch, length, hidden.size());
    require_size(projected.size(), batch * config_.projection_dim, "text embeddings");
    const std::vector<int64_t> ends = ends_of(ids, batch, length);
    graph::Graph & tower = runner_.prepare("hidden " + std::to_string(batch) + "x" + std::to_string(length), [&](Ops & ops) {
        build(ops, batch, length, config_.num_hidden_layers, false, false);
    });
    tower.set_input("ids", ids);
    tower.compute(*job.cancel);
    tower.get_output("context", hidden);
    project(hidden, ends, length, projected, job);
}

void ClipText::forward_pooled(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                              Span<float> projected, const JobContext & job, const TokenRuns & runs) {
    require_projection();
    const int blocks = blocks_to_run(clip_skip);
    check(ids, batch, length, context.size());
    check_runs(runs, batch, length);
    require_size(projected.size(), batch * config_.projection_dim, "text embeddings");
    const std::vector<int64_t> ends = ends_of(ids, batch, length);
    const std::string key =
        "pooled " + std::to_string(batch) + "x" + std::to_string(length) + " " + std::to_string(blocks) + pattern(runs);
    graph::Graph & tower =
        runner_.prepare(key, [&](Ops & ops) { build(ops, batch, length, blocks, config_.final_norm, true, runs); });
    set_tokens(tower, ids, runs);
    tower.compute(*job.cancel);
    tower.get_output("context", context);
    std::vector<float> hidden(static_cast<size_t>(batch * length * config_.hidden_size));
    tower.get_output("hidden", hidden);
    project(hidden, ends, length, projected, job);
}

graph::GraphMeasure ClipText::measure(int64_t batch, int64_t length) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, length, blocks_to_run(0), config_.final_norm, false); });
}

graph::GraphMeasure ClipText::measure_pooled(int64_t batch, int64_t length) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, length, blocks_to_run(0), config_.final_norm, true); });
}

}  // namespace latent::models
