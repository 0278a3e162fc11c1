// One evaluation of the U-Net: its plan, guidance, tiles.
#include <algorithm>

#include "pipeline/checks.h"
#include "pipeline/image/tiling.h"
#include "pipeline/image/upscaling.h"
#include "pipeline/latent_pipeline.h"

namespace latent::pipeline {

/// Bytes of the features of all pictures; throws invalid_argument for a branch that the U-Net has not.
uint64_t LatentPipeline::features_of(const UNetCall & call) const {
    if (!call.deep_cache.on()) return 0;
    const int branch = call.deep_cache.branch;
    if (branch < 0 || branch > unet_->deepest_branch()) {
        refuse("deepCache.branch must be 0 to " + std::to_string(unet_->deepest_branch()) + " for this U-Net, not " +
               std::to_string(branch));
    }
    const auto [n, c, h, w] = call.shape;
    return static_cast<uint64_t>(n) * unet_->feature_bytes({call.guided ? 2 : 1, h, w, 0}, branch);
}

/// Bytes that a run keeps between its steps: latents of the loop and of the solver's history, and features.
uint64_t LatentPipeline::run_bytes(const UNetCall & call) const {
    constexpr uint64_t kLatents = 16;
    return kLatents * sizeof(float) * elements(call.shape) + features_of(call);
}

/// Bytes of one call as planned.
uint64_t LatentPipeline::measure_unet(const UNetCall & call, const UNetPlan & plan) const {
    const SamplingRequest::DeepCache & cache = call.deep_cache;
    const auto side = [&](int64_t length) { return plan.tile > 0 ? std::min<int64_t>(length, plan.tile) : length; };
    const models::UNetShape shape{plan.as_batch ? 2 : 1, side(call.shape[2]), side(call.shape[3]), call.tokens};
    return unet_->measure(shape, cache.on() ? std::optional<int>(cache.branch) : std::nullopt).bytes;
}

/// Whether the two halves of guidance run as one batch, and in which tiles; throws out_of_memory where not even one half alone
/// fits the caller's bound.
LatentPipeline::UNetPlan LatentPipeline::plan_unet(const UNetCall & call) const {
    UNetPlan plan;
    plan.held = weights_beside(*unet_) + run_bytes(call) + call.shown + *kept_;
    uint64_t half = 0;
    if (conditioners_ && conditioners_->upscales()) {
        StagePlanRequest request{call.shape[2], call.shape[3]};
        request.held = plan.held, request.bound = request_.max_bytes;
        request.budget = working_budget(request_.max_bytes, plan.held, available_to(*unet_));
        request.tile = request_.tile_size / unet_->config().downsampling() * unet_->config().downsampling();
        if (request_.tile_size > 0 && request.tile == 0) request.tile = unet_->config().downsampling();
        request.largest = one_part_at_a_time_ ? kLowMemoryTile : kUpscalingTile;
        const StagePlan stage = plan_stage(request, "The U-Net", [&](int64_t h, int64_t w) {
            UNetCall tile = call;
            tile.shape[2] = h, tile.shape[3] = w;
            return measure_unet(tile, {false});
        });
        plan.tile = stage.tile, half = stage.bytes;
        if (plan.tile > 0 && call.deep_cache.on()) {
            refuse(
                "deepCache: this picture is made in tiles, whose features are not kept; leave it out, or give a smaller picture");
        }
    }
    plan.as_batch = call.guided && !one_part_at_a_time_;
    if (request_.max_bytes == 0) return plan;
    if (plan.as_batch) {
        plan.bytes = measure_unet(call, plan);
        if (plan.held + plan.bytes <= request_.max_bytes) return plan;
        plan.as_batch = false;
    }
    plan.bytes = half > 0 ? half : measure_unet(call, plan);
    require_bound(plan.held + plan.bytes, "The U-Net");
    return plan;
}

/// input [1, in_channels, h, w] to the raw outputs [1, out_channels, h, w] of the conditional half, or, guided, of
/// [unconditional, conditional] one after the other in the channels.
ImageTensor LatentPipeline::evaluate_halves(const ImageTensor & input, double timestep, const Guidance & guidance, int64_t row,
                                            const JobContext & job) {
    const auto [n, c, h, w] = input.shape;
    const Conditioning * cond = guidance.conditioning;
    const int64_t channels = unet_->config().out_channels;
    const size_t half = static_cast<size_t>(channels * h * w);

    models::UNetInput call;
    call.shape = {1, h, w, cond ? cond->tokens : 0};
    call.timesteps = {&timestep, 1};
    if (cond && cond->class_label >= 0) call.classes = {&cond->class_label, 1};
    call.x = input.data;
    const auto forward = [&](int slot, Span<float> out) {
        models::UNetFeatures * features = guidance.features ? &(*guidance.features)[static_cast<size_t>(row)][slot] : nullptr;
        const bool made_anew = features && !features->holds(call.shape);
        call.features = features;
        run_finite(*unet_, [&] {
            if (made_anew) features->data.clear();  // the first attempt may have left what is not finite
            unet_->forward(call, out, job);
            return Span<const float>(out.data(), out.size());
        });
    };
    if (!guidance.guided()) {
        ImageTensor out{{1, channels, h, w}, std::vector<float>(half)};
        if (cond && cond->tokens > 0) call.context = cond->data;
        forward(1, out.data);
        return out;
    }

    const Conditioning * uncond = guidance.unconditional;
    ImageTensor both{{1, 2 * channels, h, w}, std::vector<float>(2 * half)};
    if (guidance.plan.as_batch && uncond->tokens == cond->tokens) {  // one batch-2 graph, [unconditional, conditional]
        std::vector<float> context(uncond->data), rows(input.data);
        context.insert(context.end(), cond->data.begin(), cond->data.end());
        rows.insert(rows.end(), input.data.begin(), input.data.end());
        call.shape.batch = 2;
        call.x = rows;
        call.context = context;
        forward(0, both.data);
    } else {
        call.shape.tokens = uncond->tokens;
        call.context = uncond->data;
        forward(0, {both.data.data(), half});
        if (request_.max_bytes && uncond->tokens != cond->tokens) unet_->runner().clear();  // one graph is planned, not two
        call.shape.tokens = cond->tokens;
        call.context = cond->data;
        forward(1, {both.data.data() + half, half});
    }
    return both;
}

void LatentPipeline::evaluate_row(const Latents & x, int64_t row, double timestep, const Guidance & guidance, Span<float> output,
                                  const JobContext & job) {
    const auto [n, c, h, w] = x.shape;
    const auto plane = static_cast<std::ptrdiff_t>(h * w);
    const Latents * concat = guidance.concat;
    ImageTensor input{{1, c + (concat ? concat->shape[1] : 0), h, w}, {}};
    const auto append = [&](const Latents & from) {
        const std::ptrdiff_t size = from.shape[1] * plane;
        const auto begin = from.data.begin() + (from.shape[0] == 1 ? 0 : row) * size;
        input.data.insert(input.data.end(), begin, begin + size);
    };
    append(x);
    if (concat) append(*concat);

    const auto run = [&](const ImageTensor & part) { return evaluate_halves(part, timestep, guidance, row, job); };
    const int tile = guidance.plan.tile;
    const ImageTensor out = tile > 0 ? run_tiled(input, TileGrid::for_upscaling(tile), 1, 1, std::nullopt, job, run) : run(input);
    if (!guidance.guided()) {
        std::copy(out.data.begin(), out.data.end(), output.begin());
        return;
    }
    const Span<const float> halves(out.data);
    samplers::apply_guidance(halves.subspan(0, output.size()), halves.subspan(output.size(), output.size()), guidance.scale,
                             guidance.rescale, 0, output);
}

void LatentPipeline::evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, Latents & output,
                              const JobContext & job) {
    const int64_t n = x.shape[0];
    const size_t row_size = output.data.size() / static_cast<size_t>(n);
    // One picture at a time, its guidance pair as one batch: the working set does not grow with the number of pictures.
    for (int64_t row = 0; row < n; ++row) {
        const double timestep = timesteps[timesteps.size() == 1 ? 0 : static_cast<size_t>(row)];
        evaluate_row(x, row, timestep, guidance, {output.data.data() + static_cast<size_t>(row) * row_size, row_size}, job);
    }
}

/// What JavaScript gave as conditioning fits the latents and the network.
void LatentPipeline::check_conditioning(const char * what, const std::array<int64_t, 4> & shape,
                                        const Guidance & guidance) const {
    const UNetConfig & config = unet_->config();
    const auto [n, c, h, w] = shape;
    const auto refuse = [&](const std::string & why) { pipeline::refuse(std::string(what) + ": " + why); };
    const Latents * concat = guidance.concat;
    const int64_t channels = c + (concat ? concat->shape[1] : 0);
    if (channels != config.in_channels || n < 1) {
        refuse("latents and concat have " + std::to_string(channels) + " channels, this network takes " +
               std::to_string(config.in_channels));
    }
    if (concat && (concat->shape[2] != h || concat->shape[3] != w || (concat->shape[0] != n && concat->shape[0] != 1))) {
        refuse("concat is " + size_text(concat->shape[3], concat->shape[2]) + " for " + std::to_string(concat->shape[0]) +
               " pictures, the latents are " + size_text(w, h) + " for " + std::to_string(n));
    }
    const bool cross = config.attention == UNetAttention::spatial_transformer;
    const int32_t label = guidance.conditioning ? guidance.conditioning->class_label : -1;
    if (cross && (!guidance.conditioning || guidance.conditioning->tokens == 0)) refuse("conditioning is missing");
    for (const Conditioning * each : {guidance.conditioning, guidance.unconditional}) {
        if (!each || each->tokens == 0) continue;
        if (!cross) refuse("this network takes no conditioning tokens");
        if (each->dim == config.context_dim) continue;
        refuse("the conditioning is " + std::to_string(each->dim) + " wide, this network takes " +
               std::to_string(config.context_dim));
    }
    if (guidance.guided() && (!cross || guidance.unconditional->tokens == 0)) {
        refuse("there is nothing to guide away from: the unconditional conditioning has no tokens");
    }
    if (config.class_embedding == "embedding" && (label < 0 || label >= config.class_count)) {
        refuse("class label " + std::to_string(label) + " of the conditioning is outside 0.." +
               std::to_string(config.class_count - 1));
    }
}

Latents LatentPipeline::predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                                const Conditioning * unconditional, double guidance_scale, const Latents * concat,
                                const JobContext & job) {
    models::Network & network = part("unet");
    const auto [n, c, h, w] = latents.shape;
    if (!concat && conditioning && conditioning->concat) concat = &*conditioning->concat;
    Guidance guidance{conditioning, unconditional, concat, guidance_scale, 0.0, {}};
    check_conditioning("predict", latents.shape, guidance);
    if (timesteps.size() != 1 && timesteps.size() != static_cast<size_t>(n)) {
        refuse("predict: " + std::to_string(timesteps.size()) + " timesteps for " + std::to_string(n) +
               " rows; give one, or one per row");
    }
    const UNetCall call{latents.shape, guidance.tokens(), guidance.guided()};
    Latents output{{n, unet_->config().out_channels, h, w}, {}};
    with_nearest([&] { return wish_of(call); },
                 [&] {
                     guidance.plan = plan_unet(call);
                     use(network, job);
                     output.data.resize(elements(output.shape));
                     evaluate(latents, timesteps, guidance, output, job);
                 });
    update_usage();
    return output;
}

}  // namespace latent::pipeline
