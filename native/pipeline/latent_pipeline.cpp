#include "pipeline/latent_pipeline.h"

#include <algorithm>
#include <chrono>

#include "core/log.h"
#include "core/memory.h"
#include "pipeline/checks.h"
#include "pipeline/image/preview.h"
#include "pipeline/image/upscaling.h"

namespace latent::pipeline {
namespace {

/// The weight type asked for one part; nothing means "as stored".
graph::WeightPolicy weight_policy(const LoadRequest & request, const std::string & part) {
    graph::WeightPolicy policy;
    policy.precision = request.precision;
    const auto found = request.dtype.find(part);
    if (found == request.dtype.end() || found->second.empty()) return policy;
    constexpr DType types[] = {DType::f32,  DType::f16,  DType::bf16, DType::q8_0, DType::q6_k,
                               DType::q5_k, DType::q5_0, DType::q4_k, DType::q4_0};
    for (const DType type : types) {
        if (found->second == dtype_name(type)) policy.dtype = type;
    }
    if (found->second == "int8") policy.dtype = DType::i8;
    if (!policy.dtype) {
        throw Error(ErrorCode::invalid_argument, "dtype." + part + ": \"" + found->second + "\" is not a weight type");
    }
    return policy;
}

/// A part in a sentence.
std::string title_of(const models::Network & network) {
    const std::string & part = network.weights().part();
    if (part == "unet") return "The U-Net";
    if (part == "vae") return "The first stage";
    return part == "textEncoder" ? "The text encoder" : part == "imageEncoder" ? "The image encoder" : "The " + part;
}

}  // namespace

formats::ModelParts model_parts(const LoadRequest & request) {
    formats::ModelParts parts;
    parts.model = request.model;
    parts.unet = request.unet;
    parts.text_encoder = request.text_encoder;
    parts.vae = request.vae;
    parts.config = request.config;
    parts.spec = request.spec;
    parts.ema = request.ema;
    parts.image_encoder = request.image_encoder;
    parts.first_stage_only = request.first_stage_only;
    return parts;
}

formats::OpenedModel open_request(const LoadRequest & request) {
    return formats::open_model(model_parts(request));
}

std::shared_ptr<Pipeline> Pipeline::load(const LoadRequest & request, const JobContext & job) {
    auto pipeline = std::make_shared<LatentPipeline>(request, open_request(request));
    if (!request.headers_only) pipeline->load(job);
    return pipeline;
}

LatentPipeline::LatentPipeline(const LoadRequest & request, formats::OpenedModel opened, graph::DevicePtr device)
    : request_(request),
      opened_(std::move(opened)),
      device_(device ? std::move(device) : graph::Device::create(request.device, request.threads)) {
    const ModelSpec & spec = opened_.spec;
    if (!request.first_stage_only) {
        ConditioningHost host;
        host.use = [this](models::Network & network, const JobContext & job) { use(network, job); };
        host.run_finite = [this](models::Network & network, const std::function<Span<const float>()> & run) {
            run_finite(network, run);
        };
        host.encode = [this](const ImageTensor & image, const JobContext & job) {
            const Latents raw = encode_raw(image, job);
            return code_of(raw, raw.shape[0], nullptr, 1.0);
        };
        conditioners_ = std::make_unique<Conditioners>(spec, device_, std::move(host));
    }
    if (spec.unet && !request.first_stage_only) unet_ = std::make_unique<models::UNet>(*spec.unet, device_);
    if (spec.first_stage) first_stage_ = std::make_unique<models::Autoencoder>(*spec.first_stage, device_);

    for (models::Network * network : networks()) {
        network->weights().plan(opened_.tensors, weight_policy(request, network->weights().part()));
    }
    choose_residency();
    update_usage();
}

/// Whether parts take turns in memory.
void LatentPipeline::choose_residency() {
    uint64_t heap = 0, largest_mapped = 0;
    for (const models::Network * network : networks()) {
        heap += network->weights().bytes() - network->weights().mapped_bytes();
        largest_mapped = std::max(largest_mapped, network->weights().mapped_bytes());
    }
    const uint64_t bound = request_.max_bytes, budget = working_budget(bound, 0, device_->available());
    one_part_at_a_time_ =
        request_.memory == "low" || (request_.memory == "auto" && (heap > budget || (bound && heap + largest_mapped > bound)));
}

std::vector<models::Network *> LatentPipeline::networks() const {
    std::vector<models::Network *> out;
    if (conditioners_) out = conditioners_->networks();
    if (unet_) out.push_back(unet_.get());
    if (first_stage_) out.push_back(first_stage_.get());
    return out;
}

void LatentPipeline::load(const JobContext & job) {
    PictureMemory usual;
    usual.guided = unet_ && opened_.spec.guidance_scale != 1.0;
    with_nearest([&] { return wish_of(usual); }, [&] { load_weights(job); });
}

void LatentPipeline::load_weights(const JobContext & job) {
    for (const models::Network * network : networks()) require_bound(weights_beside(*network), title_of(*network));
    if (one_part_at_a_time_) return;
    uint64_t total = 0, done = 0;
    for (models::Network * network : networks()) total += network->weights().bytes();
    for (models::Network * network : networks()) {
        if (!network->weights().loaded()) network->weights().load(job, done, total);
        done += network->weights().bytes();
    }
    update_usage();
}

/// Leaves the memory to the part that is used next: graphs of the others are freed and the pages of their mapped weights given
/// back (memory "fast" keeps both); in low memory their weights go as well.
void LatentPipeline::make_room_for(const models::Network & network) {
    if (keeps_all()) return;
    bool freed = false;
    for (models::Network * other : networks()) {
        if (other == &network || !other->weights().loaded()) continue;
        freed = freed || other->runner().bytes() > 0;
        other->runner().clear();
        other->weights().rest();
        if (one_part_at_a_time_) other->weights().unload();
    }
    if (freed) trim_heap();
}

/// Bytes of weights that are resident while `network` works: its own and what others keep on the heap. Mapped pages of parts that
/// do not work are given back (make_room_for).
uint64_t LatentPipeline::weights_beside(const models::Network & network) const {
    uint64_t held = network.weights().bytes();
    for (const models::Network * other : networks()) {
        if (other == &network || one_part_at_a_time_) continue;
        held += other->weights().bytes() - (keeps_all() ? 0 : other->weights().mapped_bytes());
    }
    return held;
}

/// Bytes that the system has for the network's graphs, those included that new ones would replace.
uint64_t LatentPipeline::available_to(const models::Network & network) const {
    const uint64_t available = device_->available();
    return available == UINT64_MAX ? available : available + network.runner().bytes() + spare_;
}

/// Throws out_of_memory with the numbers where a stage of this many bytes, weights included, is more than the caller's bound.
void LatentPipeline::require_bound(uint64_t bytes, const std::string & what) const {
    if (request_.max_bytes == 0 || bytes <= request_.max_bytes) return;
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + mebibytes(bytes) + " in all, memory.maxBytes allows " + mebibytes(request_.max_bytes),
                Json{{"required", bytes}, {"available", request_.max_bytes}}.dump());
}

/// Throws out_of_memory where what makes the conditioning of a picture of this size does not fit the caller's bound.
void LatentPipeline::require_conditioning_fits(int64_t width, int64_t height) const {
    if (request_.max_bytes == 0) return;
    for (const auto & [network, measure] : conditioners_->measure(width, height)) {
        if (!conditioners_->makes_conditioning(*network)) continue;
        require_bound(weights_beside(*network) + measure.bytes, title_of(*network));
    }
}

void LatentPipeline::use(models::Network & network, const JobContext & job) {
    make_room_for(network);
    if (network.weights().loaded()) return;
    const auto start = std::chrono::steady_clock::now();
    network.weights().load(job);
    load_ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    update_usage();
}

/// Runs a stage of `network`, and again in float32 where what it gives is not finite although it could be: 16-bit numbers end
/// sooner, and 8-bit ones have coarse scales. The network then stays in float32. Throws model_format where that does not help:
/// a black picture would look like a result.
void LatentPipeline::run_finite(models::Network & network, const std::function<Span<const float>()> & run) {
    const std::string part = network.weights().part();
    if (all_finite(run())) return;
    if (request_.precision != Precision::exact && !network.runner().limits().float32) {
        log(LogLevel::warn, "The " + part + " gave numbers that are not finite; it goes on in float32");
        graph::Runner::Limits limits = network.runner().limits();
        limits.float32 = true;
        network.runner().set_limits(limits);
        if (all_finite(run())) return;
    }
    throw Error(
        ErrorCode::model_format,
        "The " + part +
            " gives numbers that are not finite, in float32 too: its weights are damaged, or what it was given is far too "
            "large (a guidance scale, noise). Check the file against its checksum, or download it again",
        Json{{"part", part}}.dump());
}

std::vector<std::string> LatentPipeline::float32_parts() const {
    std::vector<std::string> parts;
    for (const models::Network * network : networks()) {
        if (network->runner().limits().float32) parts.push_back(network->weights().part());
    }
    return parts;
}

void LatentPipeline::unload() {
    for (models::Network * network : networks()) {
        network->runner().clear();
        network->weights().unload();
    }
    trim_heap();
    update_usage();
}

models::Network & LatentPipeline::part(const std::string & name) {
    for (models::Network * network : networks()) {
        if (network->weights().part() == name) return *network;
    }
    throw Error(ErrorCode::unsupported_model, "This model has no " + name + " part");
}

void LatentPipeline::require_parts(const char * what) const {
    if (conditioners_ && unet_ && first_stage_) return;
    throw Error(ErrorCode::unsupported_model,
                std::string(what) + ": needs a U-Net and a first stage, and this model has not both of them");
}

// ---- state -----------------------------------------------------------------------------------------------------------

void LatentPipeline::update_usage() {
    Json parts = Json::object();
    uint64_t weights = 0, compute = 0;
    for (const models::Network * network : networks()) {
        const uint64_t bytes = network->weights().loaded() ? network->weights().bytes() : 0;
        parts[network->weights().part()] = bytes;
        weights += bytes;
        compute += network->runner().bytes();
    }
    const std::lock_guard<std::mutex> lock(usage_mutex_);
    usage_ = {{"parts", parts}, {"compute", compute}, {"total", weights + compute}};
}

Json LatentPipeline::profile(bool on) {
    if (on) device_->start_profile();
    Json rows = Json::array();
    for (const graph::OpTime & op : on ? std::vector<graph::OpTime>{} : device_->stop_profile()) {
        rows.push_back({{"operation", op.label},
                        {"calls", op.calls},
                        {"ms", op.milliseconds},
                        {"fastestMs", op.fastest},
                        {"gflop", op.flops * 1e-9}});
    }
    return rows;
}

Json LatentPipeline::memory_usage() const {
    Json usage;
    {
        const std::lock_guard<std::mutex> lock(usage_mutex_);
        usage = usage_;
    }
    usage["processPeak"] = peak_resident_memory();
    return usage;
}

Json LatentPipeline::info() const {
    const ModelSpec & spec = opened_.spec;
    Json parameters = {{"total", 0}}, dtypes = Json::object(), bits = Json::object();
    uint64_t total = 0;
    for (const models::Network * network : networks()) {
        const graph::WeightStore & weights = network->weights();
        const auto by_type = weights.bytes_by_dtype();
        const auto largest =
            std::max_element(by_type.begin(), by_type.end(), [](const auto & a, const auto & b) { return a.second < b.second; });
        parameters[weights.part()] = weights.parameter_count();
        total += weights.parameter_count();
        if (largest != by_type.end()) dtypes[weights.part()] = largest->first == DType::i8 ? "int8" : dtype_name(largest->first);
        bits[weights.part()] = weights.parameter_count()
                                   ? 8.0 * static_cast<double>(weights.bytes()) / static_cast<double>(weights.parameter_count())
                                   : 0.0;
    }
    parameters["total"] = total;

    Json samplers = Json::array(), schedules = Json::array();
    Json labels = Json::object(), default_schedules = Json::object();
    for (const auto & sampler : samplers::list_samplers()) {
        samplers.push_back(sampler.name);
        labels[sampler.name] = sampler.label;
        default_schedules[sampler.name] = sampler.default_schedule;
    }
    for (const auto & schedule : samplers::list_schedules()) {
        schedules.push_back(schedule.name);
        labels[schedule.name] = schedule.label;
    }
    const int64_t factor = conditioners_ && unet_ ? conditioners_->size_multiple() : spec.downsampling();
    const graph::DeviceInfo device = device_->info();
    return {{"kind", spec.kind},
            {"condition", conditioners_ ? conditioners_->info() : Json{{"guidance", false}}},
            {"name", spec.name},
            {"spec", to_json(spec)},
            {"parameters", parameters},
            {"dtypes", dtypes},
            {"effectiveBits", bits},
            {"defaults",
             {{"width", spec.image_size},
              {"height", spec.image_size},
              {"steps", spec.steps},
              {"sampler", spec.sampler},
              {"schedule", ""},
              {"guidanceScale", spec.guidance_scale},
              {"eta", -1},
              {"clipSkip", 0}}},
            {"samplers", samplers},
            {"schedules", schedules},
            {"defaultSchedules", default_schedules},
            {"labels", labels},
            {"downsampling", spec.downsampling()},
            {"sizeMultiple", factor},
            {"latentChannels", spec.latent_channels()},
            {"precision", request_.precision == Precision::exact ? "exact" : "fast"},
            {"memory", one_part_at_a_time_ ? "low" : request_.memory},
            {"device",
             {{"id", device.name},
              {"type", device.kind},
              {"name", device.description},
              {"memoryTotal", device.memory_total},
              {"memoryFree", device.memory_free},
              {"threads", device_->threads()}}}};
}

std::array<int64_t, 4> LatentPipeline::latent_shape(int width, int height, int batch) const {
    const int factor = opened_.spec.downsampling();
    if (width <= 0 || height <= 0 || batch <= 0 || width % factor != 0 || height % factor != 0) {
        refuse("size " + size_text(width, height) + ": width and height must be positive multiples of " + std::to_string(factor));
    }
    return {batch, opened_.spec.latent_channels(), height / factor, width / factor};
}

void LatentPipeline::check_latents(const Latents & latents, const char * what) const {
    const auto [n, c, h, w] = latents.shape;
    if (n < 1 || h < 1 || w < 1 || c != opened_.spec.latent_channels()) {
        throw Error(ErrorCode::invalid_argument, std::string(what) + ": latents of shape [" + std::to_string(n) + ", " +
                                                     std::to_string(c) + ", " + std::to_string(h) + ", " + std::to_string(w) +
                                                     "], this model takes [n, " + std::to_string(opened_.spec.latent_channels()) +
                                                     ", h, w]");
    }
}

Latents LatentPipeline::create_latents(int width, int height, int batch, uint64_t seed, const std::string & rng) {
    Latents latents{latent_shape(width, height, batch), {}};
    require_memory(elements(latents.shape) * sizeof(float), "Start noise of this size");
    latents.data.resize(elements(latents.shape));
    SeededNoise(parse_rng_kind(rng), seed, static_cast<size_t>(batch)).normal(latents.data);
    return latents;
}

Picture LatentPipeline::preview(const Latents & latents, int index) const {
    return linear_preview(latents, index, opened_.spec);
}

}  // namespace latent::pipeline
