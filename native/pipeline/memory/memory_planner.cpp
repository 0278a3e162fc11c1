// The memory that images will take, from the plans for making them.
#include "pipeline/memory/memory_planner.h"

#include <algorithm>

#include "pipeline/image/upscaling.h"
#include "pipeline/messages.h"

namespace latent::pipeline {

Json MemoryPlanner::estimate(const EstimateRequest & request) const {
    Json out = Json::object(), weights = Json::object();
    const auto add = [&](const std::string & name, const graph::GraphMeasure & measure) {  // text encoders run one after another
        const Json before = out.value(name, Json{{"bytes", 0}, {"flops", 0.0}});
        out[name] = {{"bytes", std::max(before["bytes"].get<uint64_t>(), measure.bytes)},
                     {"flops", before["flops"].get<double>() + measure.flops}};
    };
    PictureOutline picture{request.width, request.height};
    if (stages_.denoiser) picture.rows = stages_.denoiser->rows(request.guidance_scale, request.image_guidance_scale);
    picture.count = request.count, picture.deep_cache = request.deep_cache;
    picture.preview_method = request.preview_method;
    if (picture.preview_method == "taesd") (void)stages_.require_tiny_stage();
    const Frame frame = frame_of(picture);
    const auto shape = stages_.latent_shape(frame.padded_width, frame.padded_height, 1);
    for (const models::Network * network : stages_.residency.parts()) {
        const bool refines = stages_.refiner && network == &stages_.refiner->denoiser().network();
        Json & part = weights[refines ? "refiner" : network->weights().part()];
        if (part.is_null()) part = {{"bytes", uint64_t{0}}, {"mapped", uint64_t{0}}};
        part["bytes"] = part["bytes"].get<uint64_t>() + network->weights().bytes();
        part["mapped"] = part["mapped"].get<uint64_t>() + network->weights().mapped_bytes();
    }
    out["weights"] = weights;
    for (const auto & [network, measure] : measure_conditioners(frame)) add(network->weights().part(), measure);
    const auto measure = [&] {
        int64_t h = shape[2], w = shape[3];
        if (stages_.denoiser) {
            const int64_t tokens = stages_.conditioners->tokens();
            if (stages_.conditioners->upscales()) {
                const int64_t tile = stages_.request.tile_size > 0 ? stages_.request.tile_size : kUpscalingTile;
                h = std::min(h, tile), w = std::min(w, tile);
            }
            const int64_t batch = call_of(picture).rows;
            add("unet", stages_.denoiser->network().measure({batch, h, w, tokens}));
            if (stages_.refiner) add("refiner", stages_.refiner->denoiser().network().measure({batch, h, w, tokens}));
        }
        if (stages_.first_stage) {
            const int64_t factor = stages_.spec().downsampling();
            if (stages_.first_stage->form().encodes)
                add("encode", stages_.first_stage->network().measure_encode(1, shape[2] * factor, shape[3] * factor));
            add("decode", stages_.first_stage->network().measure_decode(1, h, w));
        }
        out["stages"] = stages_of(picture);
    };
    advise([&] { return pictures(picture); }, measure);
    out["peak"] = peak_of(out["stages"], picture);
    out["floor"] = floor_of(picture);
    return out;
}

/// The size asked for, or the model's.
Frame MemoryPlanner::frame_of(const PictureOutline & picture) const {
    if (stages_.conditioners && stages_.denoiser) return stages_.conditioners->frame({}, picture.width, picture.height);
    const int64_t usual =
        std::max(stages_.spec().image_size, stages_.spec().downsampling());  // only a first stage or text encoder
    const int64_t width = picture.width ? picture.width : usual, height = picture.height ? picture.height : usual;
    return {width, height, width, height};
}

/// Encoding is needed only with an input image, CLIP's image tower only for retrieval databases.
bool MemoryPlanner::needs_stage(const std::string & name, const PictureOutline & picture) const {
    if (name == "imageEncoder") return !stages_.denoiser;
    return name != "encode" || picture.from_image || !stages_.denoiser ||
           (stages_.conditioners && (stages_.conditioners->inpaints() || stages_.conditioners->edits()));
}

/// The evaluations that make the images.
DenoisingCall MemoryPlanner::call_of(const PictureOutline & picture) const {
    const Frame frame = frame_of(picture);
    DenoisingCall call;
    call.shape = stages_.latent_shape(frame.padded_width, frame.padded_height, picture.count);
    call.tokens = picture.tokens >= 0 ? picture.tokens : stages_.conditioners->tokens();
    if (call.tokens > 0) call.rows = picture.rows > 0 ? picture.rows : stages_.denoiser->most_rows();
    call.deep_cache = picture.deep_cache;
    if (picture.decodes_previews()) {  // the bytes and JavaScript's copy
        call.shown = 2 * 3 * static_cast<uint64_t>(frame.padded_width * frame.padded_height * picture.count);
    }
    if (stages_.refiner && picture.refined) {  // set up at the start as well
        DenoisingCall refined = call;
        refined.deep_cache = {};
        call.beside = stages_.refiner->denoiser().run_bytes(refined);
    }
    return call;
}

DenoisingCall MemoryPlanner::refiner_call_of(const PictureOutline & picture) const {
    DenoisingCall call = call_of(picture);
    call.deep_cache = {};
    call.beside = 0;  // the base model's run ends when the refiner takes over
    return call;
}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> MemoryPlanner::measure_conditioners(
    const Frame & frame) const {
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> out;
    if (stages_.conditioners) out = stages_.conditioners->measure(frame.width, frame.height);
    if (!stages_.refiner) return out;
    for (const auto & each : stages_.refiner->conditioners().measure(frame.width, frame.height)) out.push_back(each);
    return out;
}

void MemoryPlanner::require_conditioning_fits(int64_t width, int64_t height) const {
    const PartResidency & residency = stages_.residency;
    if (residency.bound() == 0) return;
    for (const auto & [network, measure] : measure_conditioners({width, height, width, height})) {
        if (!stages_.conditioners->makes_conditioning(*network)) continue;
        residency.require_bound(residency.bytes_with(*network, residency.use_of(*network)) + measure.bytes, title_of(*network));
    }
}

PictureOutline MemoryPlanner::outline_of(const GenerateRequest & request) const {
    const Frame frame = stages_.conditioners->frame(request.inputs, request.width, request.height);
    const SamplingRequest & sampling = request.sampling;
    PictureOutline picture{frame.width, frame.height,
                           stages_.denoiser->rows(sampling.guidance_scale, sampling.image_guidance_scale)};
    picture.from_image = request.inputs.image && !stages_.conditioners->takes_image();
    picture.tokens = stages_.conditioners->tokens(&request.inputs);
    picture.count = request.count;
    picture.deep_cache = sampling.deep_cache;
    if (request.preview_every > 0) picture.preview_method = request.preview_method;
    picture.refined = request.refiner_switch_at < 1;
    return picture;
}

/// Bytes that the run keeps between its steps: the base model's and the refiner's, because both are set up at the start.
uint64_t MemoryPlanner::run_bytes(const DenoisingCall & call) const {
    return stages_.denoiser->run_bytes(call) + call.beside;
}

/// Bytes of the run while the first stage decodes previews; 0 if it does not.
uint64_t MemoryPlanner::run_beside_decoder(const PictureOutline & picture, const DenoisingCall & call) const {
    const bool tiny = picture.preview_method == "taesd" && !stages_.preview_stage;  // the first stage is the tiny autoencoder
    return stages_.denoiser && (picture.preview_method == "vae" || tiny) ? run_bytes(call) : 0;
}

/// Previews by a separate tiny autoencoder, in addition to the run and the denoising network with its graph.
StagePlan MemoryPlanner::plan_previews(const PictureOutline & picture, const DenoisingCall & call) const {
    const auto [n, c, h, w] = call.shape;
    if (!stages_.preview_stage) return stages_.require_tiny_stage().plan_decode(h, w, n, run_beside_decoder(picture, call));
    const auto graph_of = [](const Denoiser & denoiser, const DenoisingCall & asked) {
        const DenoisingPlan plan = denoiser.plan(asked);
        return plan.bytes > 0 ? plan.bytes : denoiser.measure(asked, plan);
    };
    uint64_t graph = graph_of(*stages_.denoiser, call);
    if (stages_.refiner && picture.refined) {
        graph = std::max(graph, graph_of(stages_.refiner->denoiser(), refiner_call_of(picture)));
    }
    return stages_.preview_stage->plan_decode(h, w, n, run_bytes(call) + graph);
}

/// Throws out_of_memory if encoding or decoding the images does not fit the caller's limit.
void MemoryPlanner::require_first_stage_fits(const PictureOutline & picture) const {
    if (stages_.residency.bound() == 0) return;
    const DenoisingCall call = call_of(picture);
    const auto [n, c, h, w] = call.shape;
    (void)stages_.first_stage->plan_decode(h, w, n, run_beside_decoder(picture, call));
    if (picture.preview_method == "taesd") (void)plan_previews(picture, call);
    if (needs_stage("encode", picture)) (void)stages_.first_stage->plan_encode(h, w, n);
}

uint64_t MemoryPlanner::peak_of(const Json & stages, const PictureOutline & picture) const {
    uint64_t peak = 0;
    for (const auto & [name, stage] : stages.items()) {
        if (needs_stage(name, picture)) peak = std::max(peak, stage["peak"].get<uint64_t>());
    }
    return peak;
}

/// The stages as they would run, each with everything that is resident at that time. Throws out_of_memory if a required stage
/// does not fit the limit; an optional one is left out.
Json MemoryPlanner::stages_of(const PictureOutline & picture) const {
    const Frame frame = frame_of(picture);
    Json stages = Json::object();
    // `held` includes as many bytes of weights as the use of `kept` needs at least.
    const auto add = [&](const std::string & name, const models::Network & network, uint64_t compute, uint64_t held,
                         const KeptWeights & kept) {
        using WeightUse = PartResidency::WeightUse;
        const uint64_t least = stages_.residency.bytes_with(network, kept.streamed ? WeightUse::streamed : WeightUse::whole);
        const uint64_t more = kept.streamed ? kept.bytes - network.weights().least_bytes() : 0;  // beyond the least
        const uint64_t peak = compute + held + more, weights = least + more;
        if (stages.contains(name) && stages[name]["peak"].get<uint64_t>() >= peak) return;  // one after another
        stages[name] = {{"weights", weights},
                        {"streamed", network.weights().streamed_bytes(kept.bytes)},
                        {"compute", compute},
                        {"pictures", held - least},
                        {"peak", peak}};
    };
    if (stages_.conditioners) {
        require_conditioning_fits(frame.width, frame.height);
        for (const auto & [network, measure] : measure_conditioners(frame)) {
            const PartResidency::WeightUse use = stages_.residency.use_of(*network);
            add(network->weights().part(), *network, measure.bytes, stages_.residency.bytes_with(*network, use),
                use == PartResidency::WeightUse::whole ? KeptWeights{} : KeptWeights{true, network->weights().least_bytes()});
        }
    }
    DenoisingCall call;
    if (stages_.denoiser) {
        call = call_of(picture);
        const DenoisingPlan plan = stages_.denoiser->plan(call);
        add("unet", stages_.denoiser->network(), plan.bytes > 0 ? plan.bytes : stages_.denoiser->measure(call, plan), plan.held,
            plan.weights);
    }
    if (stages_.refiner && picture.refined) {
        const Denoiser & refiner = stages_.refiner->denoiser();
        const DenoisingCall refined = refiner_call_of(picture);
        const DenoisingPlan plan = refiner.plan(refined);
        add("refiner", refiner.network(), plan.bytes > 0 ? plan.bytes : refiner.measure(refined, plan), plan.held, plan.weights);
    }
    if (!stages_.first_stage) return stages;
    const auto [n, c, h, w] = stages_.latent_shape(frame.padded_width, frame.padded_height, picture.count);
    const StagePlan decode = stages_.first_stage->plan_decode(h, w, n, run_beside_decoder(picture, call));
    if (stages_.preview_stage && picture.preview_method == "taesd") {
        const StagePlan previews = plan_previews(picture, call);
        add("preview", stages_.preview_stage->network(), previews.bytes, previews.held, previews.weights);
    }
    add("decode", stages_.first_stage->network(), decode.bytes, decode.held, decode.weights);
    if (!stages_.first_stage->form().encodes) return stages;
    try {
        const StagePlan encode = stages_.first_stage->plan_encode(h, w, n);
        add("encode", stages_.first_stage->network(), encode.bytes, encode.held, encode.weights);
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || needs_stage("encode", picture)) throw;
    }
    return stages;
}

}  // namespace latent::pipeline
