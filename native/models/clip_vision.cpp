#include "models/clip_vision.h"

#include <algorithm>
#include <vector>

#include "models/clip_layers.h"

namespace latent::models {

using graph::Ops;
using graph::Seq;

namespace {

constexpr int64_t max_clip_batch = 256;

}  // namespace

ClipVision::ClipVision(const ClipVisionConfig & config, graph::DevicePtr device, const std::string & prefix)
    : Network(device, ModelPart::image_encoder),
      config_(clip_vision_config(to_json(config))),
      layers_(networks::declare_clip_vision(config, weights_.declared(), prefix)) {}

void ClipVision::build(Ops & ops, int64_t batch, int layers) const {
    const networks::ClipVisionLayers & l = layers_;
    const ClipLayerOptions options{config_.num_attention_heads, false, clip_activation(config_.hidden_act),
                                   static_cast<float>(config_.layer_norm_eps)};
    graph::ConvOptions cut;
    cut.stride = config_.patch_size;
    cut.padding = graph::Padding::none;
    const auto pixels = ops.input_map("pixels", config_.image_size, config_.image_size, config_.num_channels, batch);
    const Seq patches = ops.to_seq(ops.conv(pixels, l.patches, cut));
    Seq x = ops.concat(ops.embed(ops.input_ids("class", 1, batch), l.class_token), patches);
    x = ops.layer_norm(ops.add_positions(x, l.positions), l.norm_in, options.eps);
    for (int i = 0; i < layers; ++i) x = clip_layer(ops, x, l.layers[static_cast<size_t>(i)], options);
    ops.output("hidden", x);
}

void ClipVision::hidden(Span<const float> pixels, int64_t batch, int layers, Span<float> states, const JobContext & job) {
    if (batch < 1 || batch > max_clip_batch) throw Error(ErrorCode::invalid_argument, "The image encoder takes 1 to 256 images");
    if (layers < 0 || layers > config_.num_hidden_layers) {
        throw Error(ErrorCode::invalid_argument, "The image encoder has " + std::to_string(config_.num_hidden_layers) +
                                                     " layers, " + std::to_string(layers) + " were requested");
    }
    require_loaded();
    require_size(pixels.size(), batch * config_.num_channels * config_.image_size * config_.image_size, "pictures");
    require_size(states.size(), batch * tokens() * config_.hidden_size, "hidden states");
    const std::string key = std::to_string(batch) + " " + std::to_string(layers);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, batch, layers); });
    graph.set_input("pixels", pixels);
    graph.set_input("class", Span<const int32_t>(std::vector<int32_t>(static_cast<size_t>(batch), 0)));
    graph.compute(*job.cancel);
    graph.get_output("hidden", states);
}

void ClipVision::forward(Span<const float> pixels, int64_t batch, Span<float> embeds, const JobContext & job) {
    const int64_t width = config_.hidden_size;
    require_size(embeds.size(), batch * config_.projection_dim, "image embeddings");
    std::vector<float> states(static_cast<size_t>(std::max<int64_t>(0, std::min(batch, max_clip_batch)) * tokens() * width)),
        pooled;
    hidden(pixels, batch, config_.num_hidden_layers, states, job);
    for (int64_t row = 0; row < batch; ++row) {
        const auto token = states.begin() + row * tokens() * width;
        pooled.insert(pooled.end(), token, token + width);
    }
    const ClipHead head{layers_.norm_out, layers_.projection, static_cast<float>(config_.layer_norm_eps)};
    graph::Graph & graph =
        runner_.prepare("head " + std::to_string(batch), [&](Ops & ops) { build_clip_head(ops, batch, head); });
    graph.set_input("pooled", Span<const float>(pooled));
    graph.compute(*job.cancel);
    graph.get_output("embeds", embeds);
}

graph::GraphMeasure ClipVision::measure(int64_t batch) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, config_.num_hidden_layers); });
}

}  // namespace latent::models
