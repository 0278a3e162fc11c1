#include "models/tiny_autoencoder.h"

#include <cmath>
#include <vector>

#include "graph/ops.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::Map;
using graph::Ops;

namespace {

constexpr float latent_bound = 3.0f;  // latents are clamped to this

Map run_tiny(Ops & ops, Map x, const networks::TinyBlock & w) {
    ConvOptions inner, last;
    inner.activation = Activation::relu;
    last.residual = x;
    Map h = ops.conv(ops.conv(x, w.conv_0, inner), w.conv_2, inner);
    return ops.activation(ops.conv(h, w.conv_4, last), Activation::relu);
}

Map run_tiny(Ops & ops, Map x, const networks::TinyLevel & w, const ConvOptions & resample) {
    if (w.resample.weight) x = ops.conv(x, w.resample, resample);
    for (const networks::TinyBlock & block : w.blocks) x = run_tiny(ops, x, block);
    return x;
}

}  // namespace

TinyAutoencoder::TinyAutoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix)
    : FirstStage(device, ModelPart::vae),
      config_(config),
      layers_(networks::declare_tiny_stage(config, weights_.declared(), prefix)) {}

FirstStageForm TinyAutoencoder::form() const {
    FirstStageForm form;
    form.in_channels = config_.in_channels, form.out_channels = config_.out_channels;
    form.latent_channels = config_.embed_dim;
    form.downsampling = config_.downsampling();
    form.spread = false;
    form.encodes = config_.encoder;
    form.halo = networks::tiny_stage_halo(config_);
    return form;
}

void TinyAutoencoder::build_encode(Ops & ops, int64_t batch, int64_t height, int64_t width) const {
    ConvOptions halve;
    halve.stride = 2;
    Map h = ops.conv(ops.input_map("image", width, height, config_.in_channels, batch), layers_.encoder_in, {});
    for (const networks::TinyLevel & level : layers_.down) h = run_tiny(ops, h, level, halve);
    ops.output("latents", ops.conv(h, layers_.encoder_out, {}));
}

void TinyAutoencoder::build_decode(Ops & ops, int64_t batch, int64_t height, int64_t width) const {
    ConvOptions twice;
    twice.upsample = true;
    Map h = ops.conv(ops.input_map("latents", width, height, config_.embed_dim, batch), layers_.decoder_in, {});
    h = ops.activation(h, Activation::relu);
    for (const networks::TinyLevel & level : layers_.up) h = run_tiny(ops, h, level, twice);
    ops.output("image", ops.conv(h, layers_.decoder_out, {}));
}

void TinyAutoencoder::require_encoder() const {
    if (config_.encoder) return;
    throw Error(ErrorCode::unsupported_model,
                "This tiny autoencoder (TAESD) is only a decoder and cannot encode images; load its encoder too: the "
                "file of the same name with \"encoder\" in place of \"decoder\", in the same folder");
}

void TinyAutoencoder::encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> latents,
                             const JobContext & job) {
    require_encoder();
    const int64_t f = config_.downsampling();
    check(batch, height, width, f);
    require_loaded();
    require_size(image.size(), batch * config_.in_channels * height * width, "image");
    require_size(latents.size(), batch * config_.embed_dim * (height / f) * (width / f), "latents");
    const std::string key = "encode " + std::to_string(width) + "x" + std::to_string(height) + "x" + std::to_string(batch);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build_encode(ops, batch, height, width); });
    std::vector<float> unit(image.size());  // it takes 0..1
    for (size_t i = 0; i < unit.size(); ++i) unit[i] = image[i] * 0.5f + 0.5f;
    graph.set_input("image", Span<const float>(unit));
    graph.compute(*job.cancel);
    graph.get_output("latents", latents);
}

void TinyAutoencoder::decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                             const JobContext & job, bool) {
    const int64_t f = config_.downsampling();
    check(batch, height, width, 1);
    require_loaded();
    require_size(latents.size(), batch * config_.embed_dim * height * width, "latents");
    require_size(image.size(), batch * config_.out_channels * height * f * width * f, "image");
    const std::string key = "decode " + std::to_string(width) + "x" + std::to_string(height) + "x" + std::to_string(batch);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build_decode(ops, batch, height, width); });
    std::vector<float> bounded(latents.size());
    for (size_t i = 0; i < bounded.size(); ++i) bounded[i] = std::tanh(latents[i] / latent_bound) * latent_bound;
    graph.set_input("latents", Span<const float>(bounded));
    graph.compute(*job.cancel);
    graph.get_output("image", image);
    for (float & value : image) value = value * 2.0f - 1.0f;
}

graph::GraphMeasure TinyAutoencoder::measure_encode(int64_t batch, int64_t height, int64_t width) const {
    require_encoder();
    check(batch, height, width, config_.downsampling());
    return runner_.measure([&](Ops & ops) { build_encode(ops, batch, height, width); });
}

graph::GraphMeasure TinyAutoencoder::measure_decode(int64_t batch, int64_t height, int64_t width) const {
    check(batch, height, width, 1);
    return runner_.measure([&](Ops & ops) { build_decode(ops, batch, height, width); });
}

}  // namespace latent::models
