#include "models/autoencoder.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "models/autoencoder_layers.h"
#include "models/banded_stage.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::Map;
using graph::Ops;
using graph::Padding;

namespace {

constexpr float min_logvar = -30.0f, max_logvar = 20.0f;  // DiagonalGaussianDistribution

}  // namespace

Autoencoder::Autoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix)
    : FirstStage(device, ModelPart::vae),
      config_(config),
      layers_(networks::declare_first_stage(config, weights_.declared(), prefix)) {}

Autoencoder::~Autoencoder() = default;

FirstStageForm Autoencoder::form() const {
    FirstStageForm form;
    form.in_channels = config_.in_channels, form.out_channels = config_.out_channels;
    form.latent_channels = config_.embed_dim;
    form.downsampling = config_.downsampling();
    form.spread = !is_vq();
    form.codebook_size = is_vq() ? config_.codebook_size : 0;
    form.bands = weights_.device()->shares_host_memory();  // StoredMap is in the host's memory
    return form;
}

void Autoencoder::build_encode(Ops & ops, int64_t batch, int64_t height, int64_t width) const {
    const StageLayers & l = layers_;
    Map h = ops.conv(ops.input_map("image", width, height, config_.in_channels, batch), l.encoder_in, {});
    ConvOptions halve;
    halve.stride = 2;
    halve.padding = Padding::right_bottom;
    for (const StageLevel & level : l.down) {
        h = run_blocks(ops, h, level);
        if (level.resample) h = ops.conv(h, *level.resample, halve);
    }
    h = run(ops, h, l.encoder_middle);
    h = ops.conv(ops.group_norm(h, l.encoder_norm, norm_silu), l.encoder_out, {});
    if (l.quant) h = ops.conv(h, *l.quant, {});
    ops.output("moments", h);
}

void Autoencoder::build_decode(Ops & ops, int64_t batch, int64_t height, int64_t width) const {
    const StageLayers & l = layers_;
    Map h = ops.input_map("latents", width, height, config_.embed_dim, batch);
    if (l.post_quant) h = ops.conv(h, *l.post_quant, {});
    h = run(ops, ops.conv(h, l.decoder_in, {}), l.decoder_middle);
    ConvOptions twice;
    twice.upsample = true;
    for (const StageLevel & level : l.up) {
        h = run_blocks(ops, h, level);
        if (level.resample) h = ops.conv(h, *level.resample, twice);
    }
    ops.output("image", ops.conv(ops.group_norm(h, l.decoder_norm, norm_silu), l.decoder_out, {}));
}

void Autoencoder::encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> moments,
                         const JobContext & job) {
    require_encode_sizes(image, batch, height, width, moments);
    const std::string key = "encode " + std::to_string(width) + "x" + std::to_string(height) + "x" + std::to_string(batch);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build_encode(ops, batch, height, width); });
    graph.set_input("image", image);
    graph.compute(*job.cancel);
    graph.get_output("moments", moments);
    clamp_logvar(moments, batch);
}

void Autoencoder::encode_banded(Span<const float> image, int64_t height, int64_t width, Span<float> moments,
                                const JobContext & job) {
    require_encode_sizes(image, 1, height, width, moments);
    run_banded([&](BandedStage & stage) { stage.encode(image, height, width, moments, job); });
    clamp_logvar(moments, 1);
}

void Autoencoder::require_encode_sizes(Span<const float> image, int64_t batch, int64_t height, int64_t width,
                                       Span<float> moments) const {
    const int64_t f = config_.downsampling();
    check(batch, height, width, f);
    require_loaded();
    require_size(image.size(), batch * config_.in_channels * height * width, "image");
    require_size(moments.size(), batch * encoded_channels() * (height / f) * (width / f), "moments");
}

void Autoencoder::clamp_logvar(Span<float> moments, int64_t batch) const {
    if (is_vq()) return;
    const size_t half = moments.size() / static_cast<size_t>(2 * batch);
    for (int64_t n = 0; n < batch; ++n) {
        float * logvar = moments.data() + static_cast<size_t>(2 * n + 1) * half;
        for (size_t i = 0; i < half; ++i) logvar[i] = std::clamp(logvar[i], min_logvar, max_logvar);
    }
}

void Autoencoder::decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                         const JobContext & job, bool quantise) {
    const int64_t f = config_.downsampling();
    check(batch, height, width, 1);
    require_loaded();
    require_size(latents.size(), batch * config_.embed_dim * height * width, "latents");
    require_size(image.size(), batch * config_.out_channels * height * f * width * f, "image");

    std::vector<float> vectors;
    if (is_vq() && quantise) latents = vectors = nearest_vectors(latents, batch, height, width, job);
    const std::string key = "decode " + std::to_string(width) + "x" + std::to_string(height) + "x" + std::to_string(batch);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build_decode(ops, batch, height, width); });
    graph.set_input("latents", latents);
    graph.compute(*job.cancel);
    graph.get_output("image", image);
}

void Autoencoder::decode_banded(Span<const float> latents, int64_t height, int64_t width, Span<float> image,
                                const JobContext & job, bool quantise) {
    const int64_t f = config_.downsampling();
    check(1, height, width, 1);
    require_loaded();
    require_size(latents.size(), config_.embed_dim * height * width, "latents");
    require_size(image.size(), config_.out_channels * height * f * width * f, "image");
    std::vector<float> vectors;
    if (is_vq() && quantise) latents = vectors = nearest_vectors(latents, 1, height, width, job);

    run_banded([&](BandedStage & stage) { stage.decode(latents, config_.embed_dim, height, width, image, job); });
}

void Autoencoder::run_banded(const std::function<void(BandedStage &)> & work) {
    runner_.clear();
    const auto run = [&](DType type) {
        BandedStage stage(layers_, weights_, runner_, type);
        work(stage);
    };
    try {
        run(banded_type());
    } catch (const BandedStage::MapOverflow &) {
        run(DType::bf16);  // coarser, but with the range of float32
    }
}

DType Autoencoder::banded_type() const {
    const bool exact = weights_.policy().precision == graph::Precision::exact || runner_.limits().float32;
    return exact ? DType::f32 : DType::f16;
}

std::vector<float> Autoencoder::nearest_vectors(Span<const float> latents, int64_t batch, int64_t height, int64_t width,
                                                const JobContext & job) {
    std::vector<int32_t> codes(static_cast<size_t>(batch * height * width));
    std::vector<float> vectors(latents.size());
    quantise(latents, batch, height, width, codes, vectors, job);
    return vectors;
}

const Codebook & Autoencoder::codebook() {
    if (!is_vq()) throw Error(ErrorCode::invalid_argument, "This first stage is a KL autoencoder, which has no codes");
    require_loaded();
    if (!codebook_ || codebook_generation_ != weights_.generation()) {
        const std::vector<float> vectors = weights_.values(*layers_.codes);
        codebook_ = std::make_unique<Codebook>(vectors, config_.codebook_size, config_.embed_dim);
        codebook_generation_ = weights_.generation();
    }
    return *codebook_;
}

void Autoencoder::quantise(Span<const float> z, int64_t batch, int64_t height, int64_t width, Span<int32_t> codes,
                           Span<float> quantised, const JobContext & job) {
    const Codebook & book = codebook();
    check(batch, height, width, 1);
    const int64_t plane = height * width;
    require_size(z.size(), batch * config_.embed_dim * plane, "latents");
    require_size(codes.size(), batch * plane, "code list");
    book.nearest(z, batch, plane, codes, weights_.device()->host_pool(), *job.cancel);
    if (quantised.empty()) return;
    require_size(quantised.size(), batch * config_.embed_dim * plane, "code vectors");
    book.lookup(codes, batch, plane, quantised);
}

void Autoencoder::lookup(Span<const int32_t> codes, int64_t batch, int64_t height, int64_t width, Span<float> z) {
    const Codebook & book = codebook();
    check(batch, height, width, 1);
    require_size(codes.size(), batch * height * width, "code list");
    require_size(z.size(), batch * config_.embed_dim * height * width, "latents");
    book.lookup(codes, batch, height * width, z);
}

graph::GraphMeasure Autoencoder::measure_encode(int64_t batch, int64_t height, int64_t width) const {
    check(batch, height, width, config_.downsampling());
    return runner_.measure([&](Ops & ops) { build_encode(ops, batch, height, width); });
}

graph::GraphMeasure Autoencoder::measure_decode(int64_t batch, int64_t height, int64_t width) const {
    check(batch, height, width, 1);
    return runner_.measure([&](Ops & ops) { build_decode(ops, batch, height, width); });
}

uint64_t Autoencoder::measure_encode_banded(int64_t height, int64_t width) const {
    check(1, height, width, config_.downsampling());
    return measure_banded([&](BandedStage & stage) { return stage.measure_encode(height, width); });
}

uint64_t Autoencoder::measure_decode_banded(int64_t height, int64_t width) const {
    check(1, height, width, 1);
    return measure_banded([&](BandedStage & stage) { return stage.measure_decode(config_.embed_dim, height, width); });
}

uint64_t Autoencoder::measure_banded(const std::function<uint64_t(BandedStage &)> & measure) const {
    graph::Runner planner(weights_.device(), weights_, part_name(ModelPart::vae));
    planner.set_limits(runner_.limits());
    BandedStage stage(layers_, weights_, planner, banded_type());
    return measure(stage);
}

}  // namespace latent::models
