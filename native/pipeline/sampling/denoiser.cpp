#include "pipeline/sampling/denoiser.h"

#include <map>

#include "pipeline/image/tiling.h"
#include "pipeline/image/upscaling.h"
#include "pipeline/memory/stage_plan.h"
#include "pipeline/messages.h"

namespace latent::pipeline {

Denoiser::Denoiser(std::unique_ptr<models::DenoisingNetwork> network, PartResidency & residency, Options options)
    : network_(std::move(network)), residency_(residency), options_(options), form_(network_->form()) {}

// ---- guidance --------------------------------------------------------------------------------------------------------

int Denoiser::rows(double scale, double image_scale) const {
    if (form_.guidance) return 1;
    if (!options_.editing || image_scale == 1.0) return scale == 1.0 ? 1 : 2;
    return scale == image_scale ? 2 : 3;
}

int Denoiser::rows(const Guidance & guidance) const {
    return guidance.unconditional ? rows(guidance.scale, guidance.image_scale) : 1;
}

// ---- the plan --------------------------------------------------------------------------------------------------------

uint64_t Denoiser::features_of(const DenoisingCall & call) const {
    if (!call.deep_cache.on()) return 0;
    const int branch = call.deep_cache.branch;
    if (branch < 0 || branch > network_->deepest_branch()) {
        refuse("deepCache.branch must be 0 to " + std::to_string(network_->deepest_branch()) + " for this U-Net, not " +
               std::to_string(branch));
    }
    const auto [n, c, h, w] = call.shape;
    return static_cast<uint64_t>(n) * network_->feature_bytes({call.rows, h, w, 0}, branch);
}

uint64_t Denoiser::run_bytes(const DenoisingCall & call) const {
    constexpr uint64_t kLatents = 16;
    return kLatents * sizeof(float) * elements(call.shape) + features_of(call);
}

uint64_t Denoiser::measure(const DenoisingCall & call, const DenoisingPlan & plan) const {
    const SamplingRequest::DeepCache & cache = call.deep_cache;
    const auto side = [&](int64_t length) { return plan.tile > 0 ? std::min<int64_t>(length, plan.tile) : length; };
    const models::DenoisingShape shape{plan.as_batch ? call.rows : 1, side(call.shape[2]), side(call.shape[3]), call.tokens};
    return network_->measure(shape, cache.on() ? std::optional<int>(cache.branch) : std::nullopt).bytes;
}

/// Sequential evaluations before streamed weights: these are read again for every evaluation.
DenoisingPlan Denoiser::plan(const DenoisingCall & call) const {
    using WeightUse = PartResidency::WeightUse;
    if (!residency_.can_stream(*network_)) return plan_with(call, WeightUse::whole);
    try {
        return plan_with(call, WeightUse::whole);
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory) throw;
    }
    DenoisingPlan plan = plan_with(call, WeightUse::streamed);
    plan.weights = residency_.room_for(*network_, plan.held + plan.bytes);
    return plan;
}

DenoisingPlan Denoiser::plan_with(const DenoisingCall & call, PartResidency::WeightUse use) const {
    const uint64_t bound = residency_.bound();
    DenoisingPlan plan;
    plan.held = residency_.bytes_with(*network_, use) + run_bytes(call) + call.beside + call.shown + residency_.claimed();
    plan.claims = residency_.claimed() + run_bytes(call) + call.beside;
    uint64_t half = 0;
    if (options_.upscaling) {
        StagePlanRequest request{call.shape[2], call.shape[3]};
        request.held = plan.held, request.bound = bound;
        request.budget = working_budget(bound, plan.held, residency_.available_to(*network_));
        request.tile = options_.tile / form_.downsampling * form_.downsampling;
        if (options_.tile > 0 && request.tile == 0) request.tile = form_.downsampling;
        request.largest = residency_.one_part_at_a_time() ? kLowMemoryTile : kUpscalingTile;
        const StagePlan stage = plan_stage(request, "The U-Net", [&](int64_t h, int64_t w) {
            DenoisingCall tile = call;
            tile.shape[2] = h, tile.shape[3] = w;
            return measure(tile, {false});
        });
        plan.tile = stage.tile, half = stage.bytes;
        if (plan.tile > 0 && call.deep_cache.on()) {
            refuse("deepCache: this image is made in tiles, which cannot reuse features; leave it out, or choose a smaller size");
        }
    }
    // One batch reads streamed weights once.
    const bool streamed = use == PartResidency::WeightUse::streamed;
    plan.as_batch = call.rows > 1 && (streamed || !residency_.saves_memory());
    if (bound == 0) return plan;
    if (plan.as_batch) {
        plan.bytes = measure(call, plan);
        if (plan.held + plan.bytes <= bound) return plan;
        plan.as_batch = false;
    }
    plan.bytes = half > 0 ? half : measure(call, plan);
    residency_.require_bound(plan.held + plan.bytes, "The U-Net");
    return plan;
}

// ---- checks ----------------------------------------------------------------------------------------------------------

void Denoiser::check(const char * what, const std::array<int64_t, 4> & shape, const Guidance & guidance) const {
    const auto [n, c, h, w] = shape;
    const auto refuse = [&](const std::string & why) { pipeline::refuse(std::string(what) + ": " + why); };
    const Latents * concat = guidance.channels();
    const int64_t channels = c + (concat ? concat->shape[1] : 0);
    if (channels != form_.in_channels || n < 1) {
        refuse("latents and concat have " + std::to_string(channels) + " channels, but this network takes " +
               std::to_string(form_.in_channels));
    }
    if (concat && (concat->shape[2] != h || concat->shape[3] != w || (concat->shape[0] != n && concat->shape[0] != 1))) {
        refuse("concat is " + size_text(concat->shape[3], concat->shape[2]) + " for " + std::to_string(concat->shape[0]) +
               " images, but the latents are " + size_text(w, h) + " for " + std::to_string(n));
    }
    const bool cross = form_.context_dim > 0;
    if (cross && (!guidance.conditioning || guidance.conditioning->tokens == 0)) refuse("conditioning is missing");
    for (const Conditioning * each : {guidance.conditioning, guidance.unconditional}) {
        if (!each || each->tokens == 0) continue;
        if (!cross) refuse("this network takes no conditioning tokens");
        if (each->dim == form_.context_dim) continue;
        refuse("the conditioning is " + std::to_string(each->dim) + " wide, but this network takes " +
               std::to_string(form_.context_dim));
    }
    const bool guided = rows(guidance) > 1;
    if (guided && (!cross || guidance.unconditional->tokens == 0)) {
        refuse("the unconditional conditioning has no tokens, so guidance is not possible");
    }
    const int32_t label = guidance.conditioning ? guidance.conditioning->class_label : -1;
    if (form_.class_count > 0 && (label < 0 || label >= form_.class_count)) {
        refuse("class label " + std::to_string(label) + " of the conditioning is outside 0.." +
               std::to_string(form_.class_count - 1));
    }
    for (const Conditioning * each : {guidance.conditioning, guided ? guidance.unconditional : nullptr}) {
        const size_t numbers = each ? each->vector.size() : 0;
        if (!each && (form_.vector_dim == 0 || guidance.conditioning)) continue;
        if (numbers == static_cast<size_t>(form_.vector_dim)) continue;
        if (form_.vector_dim == 0) refuse("the conditioning has a vector, but this network takes none");
        refuse("the conditioning has a vector of " + std::to_string(numbers) + " numbers, but this network takes " +
               std::to_string(form_.vector_dim));
    }
}

// ---- one evaluation --------------------------------------------------------------------------------------------------

/// One image of a batch.
struct Denoiser::Row {
    double timestep;
    const Guidance & guidance;
    int rows;  // evaluations that guidance combines
    const DenoisingPlan & plan;
    std::array<models::DenoisingFeatures, kMostRows> * features;
    const JobContext & job;
};

void Denoiser::forward(models::DenoisingInput & input, int slot, Span<float> out, const Row & row) {
    models::DenoisingFeatures * features = row.features ? &(*row.features)[static_cast<size_t>(slot)] : nullptr;
    const bool made_anew = features && !features->holds(input.shape);
    input.features = features;
    residency_.run_finite(*network_, [&] {
        if (made_anew) features->data.reset();  // the first attempt may have left values that are not finite
        network_->forward(input, out, row.job);
        return Span<const float>(out.data(), out.size());
    });
}

/// Maps input [1, in_channels, h, w] to the raw outputs for guidance, concatenated in the channels [1, rows * out_channels, h,
/// w]: with neither prompt nor image, without the prompt, with both. With two rows, the first is the one with neither or, if the
/// image has no guidance scale of its own, without the prompt.
ImageTensor Denoiser::evaluate_rows(const ImageTensor & input, const Row & row) {
    const auto [n, c, h, w] = input.shape;
    const Conditioning * cond = row.guidance.conditioning;
    const int64_t channels = form_.out_channels;
    const size_t rows = static_cast<size_t>(row.rows), size = static_cast<size_t>(channels * h * w);
    ImageTensor out{{1, row.rows * channels, h, w}, std::vector<float>(rows * size)};

    models::DenoisingInput call;
    call.shape = {1, h, w, cond ? cond->tokens : 0};
    call.timesteps = {&row.timestep, 1};
    const double weight = row.guidance.scale - 1.0;
    if (form_.guidance) call.guidance = {&weight, 1};
    if (cond && cond->class_label >= 0) call.classes = {&cond->class_label, 1};
    call.x = input.data;
    const auto read = [&](const Conditioning & from) {
        call.shape.tokens = from.tokens;
        call.context = from.data;
        call.vector = from.vector;
    };
    constexpr int last = static_cast<int>(kMostRows) - 1;
    if (rows == 1) {
        if (cond) read(*cond);
        forward(call, last, out.data, row);
        return out;
    }

    const Conditioning * uncond = row.guidance.unconditional;
    const auto of = [&](size_t i) -> const Conditioning & { return i + 1 < rows ? *uncond : *cond; };
    std::vector<float> without_picture;
    if (options_.editing && row.guidance.image_scale != 1.0) {
        without_picture = input.data;
        std::fill(without_picture.begin() + static_cast<std::ptrdiff_t>(size), without_picture.end(), 0.0f);
    }
    const auto latents = [&](size_t i) -> const std::vector<float> & {
        return i == 0 && !without_picture.empty() ? without_picture : input.data;
    };
    if (row.plan.as_batch && uncond->tokens == cond->tokens) {  // one graph of several rows
        std::vector<float> x, context, vector;
        const auto append = [](std::vector<float> & to, const std::vector<float> & from) {
            to.insert(to.end(), from.begin(), from.end());
        };
        for (size_t i = 0; i < rows; ++i) append(x, latents(i)), append(context, of(i).data), append(vector, of(i).vector);
        call.shape.batch = row.rows;
        call.x = x, call.context = context, call.vector = vector;
        forward(call, 0, out.data, row);
        return out;
    }
    for (size_t i = 0; i < rows; ++i) {
        const bool other = i > 0 && of(i).tokens != of(i - 1).tokens;
        if (residency_.bound() && other) network_->runner().clear();  // only one graph is planned
        read(of(i));
        call.x = latents(i);
        forward(call, i + 1 < rows ? static_cast<int>(i) : last, {out.data.data() + i * size, size}, row);
    }
    return out;
}

void Denoiser::evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, const DenoisingPlan & plan,
                        RunFeatures * features, Latents & output, const JobContext & job) {
    const auto [n, c, h, w] = x.shape;
    const auto plane = static_cast<std::ptrdiff_t>(h * w);
    const Latents * concat = guidance.channels();
    const size_t row_size = output.data.size() / static_cast<size_t>(n);
    const int rows = this->rows(guidance);
    shared_shape_ = {};
    KeptWeights weights = plan.weights;
    if (weights.streamed) {  // runs that began while this one was paused take room from its weights
        const uint64_t more = residency_.claimed() - std::min(residency_.claimed(), plan.claims);
        const uint64_t least = network_->weights().least_bytes();
        weights.bytes = std::max(least, weights.bytes - std::min(weights.bytes, more));
    }
    residency_.use(*network_, job, weights);
    const auto side = [&](int64_t length) { return plan.tile > 0 ? std::min<int64_t>(length, plan.tile) : length; };
    const int64_t batch = rows * side(h) * side(w);
    DenoisingPlan kept_plan = plan;
    kept_plan.as_batch = plan.as_batch && (batch < least_unfit_ || residency_.bound() > 0);
    // Images are processed one at a time, with the evaluations of guidance as one batch, so memory does not grow with the number
    // of images.
    for (int64_t at = 0; at < n; ++at) {
        const size_t index = static_cast<size_t>(at);
        const Row row{timesteps[timesteps.size() == 1 ? 0 : index], guidance, rows, kept_plan,
                      features ? &(*features)[index] : nullptr,     job};
        ImageTensor input{{1, form_.in_channels, h, w}, {}};
        for (const Latents * from : {&x, concat}) {
            if (!from) continue;
            const std::ptrdiff_t size = from->shape[1] * plane;
            const auto begin = from->data.begin() + (from->shape[0] == 1 ? 0 : at) * size;
            input.data.insert(input.data.end(), begin, begin + size);
        }
        const auto run = [&](const ImageTensor & part) {
            try {
                return evaluate_rows(part, row);
            } catch (const Error & error) {  // without a limit, the memory of a batch is not planned
                if (error.code() != ErrorCode::out_of_memory || !kept_plan.as_batch || residency_.bound() > 0) throw;
            }
            kept_plan.as_batch = false;
            if (rows > 1) least_unfit_ = std::min(least_unfit_, batch);
            network_->runner().clear();
            return evaluate_rows(part, row);
        };
        const ImageTensor out =
            plan.tile > 0 ? run_tiled(input, TileGrid::for_upscaling(plan.tile), 1, 1, std::nullopt, job, run) : run(input);
        const Span<float> target(output.data.data() + index * row_size, row_size);
        const Span<const float> made(out.data);
        const auto output_of = [&](int i) { return made.subspan(static_cast<size_t>(i) * row_size, row_size); };
        if (rows == 1) {
            std::copy(out.data.begin(), out.data.end(), target.begin());
        } else if (rows == 2) {
            samplers::apply_guidance(output_of(0), output_of(1), guidance.scale, guidance.rescale, 0, target);
        } else {
            samplers::apply_image_guidance(output_of(0), output_of(1), output_of(2), guidance.scale, guidance.image_scale,
                                           guidance.rescale, target);
        }
    }
}

// ---- several runs ----------------------------------------------------------------------------------------------------

/// One row of a call.
struct Denoiser::SharedRow {
    Span<const float> x, concat;
    double timestep;
    double weight;  // of guidance, for networks with such an input
    const Conditioning * conditioning;
    int32_t label;
    Span<float> out;
};

int Denoiser::shared_rows(const DenoisingCall & call, int rows, uint64_t held) const {
    if (options_.upscaling || options_.editing || call.deep_cache.on() || residency_.saves_memory()) return 0;
    constexpr int kMost = 64;
    const uint64_t bound = residency_.bound(), available = residency_.available_to(*network_);
    const uint64_t to_load = network_->weights().loaded() ? 0 : network_->weights().bytes();
    const uint64_t free = available - std::min(available, to_load);
    if (residency_.can_stream(*network_)) {  // shared evaluations do not stream: `held` must count all weights
        try {
            (void)plan_with(call, PartResidency::WeightUse::whole);
        } catch (const Error & error) {
            if (error.code() != ErrorCode::out_of_memory) throw;
            return 0;
        }
    }
    // Without a limit, a fifth of the free memory is left to everything else: all of it is never free for long.
    const uint64_t room = bound > 0 ? free : free - free / 5;
    for (rows = std::min(rows, kMost); rows > call.rows; --rows) {
        DenoisingCall shared = call;
        shared.rows = rows;
        const uint64_t bytes = measure(shared, {true});
        if (bytes <= room && (bound == 0 || held + bytes <= bound)) return rows;
    }
    return 0;
}

/// Rows with the same number of tokens.
void Denoiser::forward_shared(Span<const SharedRow> rows, int64_t height, int64_t width, const JobContext & job) {
    const size_t n = rows.size(), size = rows[0].out.size();
    std::vector<float> x, context, vector, out(n * size);
    std::vector<double> timesteps, weights;
    std::vector<int32_t> classes;
    const auto append = [](std::vector<float> & to, Span<const float> from) { to.insert(to.end(), from.begin(), from.end()); };
    for (const SharedRow & row : rows) {
        append(x, row.x), append(x, row.concat);
        timesteps.push_back(row.timestep), weights.push_back(row.weight);
        if (!row.conditioning) continue;
        append(context, row.conditioning->data), append(vector, row.conditioning->vector);
        if (row.label >= 0) classes.push_back(row.label);
    }
    models::DenoisingInput call;
    call.shape = {static_cast<int64_t>(n), height, width, rows[0].conditioning ? rows[0].conditioning->tokens : 0};
    call.x = x, call.timesteps = timesteps, call.context = context, call.vector = vector, call.classes = classes;
    if (form_.guidance) call.guidance = weights;
    const std::array<int64_t, 4> shape{call.shape.batch, call.shape.tokens, height, width};
    if (residency_.bound() && shape != shared_shape_) network_->runner().clear();  // only one graph is planned
    shared_shape_ = shape;
    residency_.run_finite(*network_, [&] {
        network_->forward(call, out, job);
        return Span<const float>(out.data(), out.size());
    });
    for (size_t i = 0; i < n; ++i) std::copy_n(out.data() + i * size, size, rows[i].out.begin());
}

void Denoiser::evaluate_shared(const std::vector<SharedEvaluation> & evaluations, int most_rows, const JobContext & job) {
    const auto [n_, c_, h, w] = evaluations.front().x->shape;
    (void)n_, (void)c_;
    residency_.use(*network_, job, KeptWeights{});  // shared_rows() has planned all weights in memory
    std::map<int64_t, std::vector<SharedRow>> by_tokens;
    std::vector<std::vector<float>> unconditional;  // the outputs of all images of an evaluation, if it is guided
    for (const SharedEvaluation & each : evaluations) {
        const bool guided = rows(each.guidance) > 1;
        unconditional.emplace_back(guided ? each.output->data.size() : 0);
        const size_t images = static_cast<size_t>(each.x->shape[0]), in = each.x->data.size() / images;
        const size_t out = each.output->data.size() / images;
        const Latents * concat = each.guidance.channels();
        const size_t beside = concat ? concat->data.size() / static_cast<size_t>(concat->shape[0]) : 0;
        const Conditioning * cond = each.guidance.conditioning;
        for (size_t i = 0; i < images; ++i) {
            SharedRow row{{each.x->data.data() + i * in, in}, {}, each.timestep, each.guidance.scale - 1.0, cond,
                          cond ? cond->class_label : -1,      {}};
            if (concat) row.concat = {concat->data.data() + (concat->shape[0] == 1 ? 0 : i * beside), beside};
            if (guided) {
                row.conditioning = each.guidance.unconditional;
                row.out = {unconditional.back().data() + i * out, out};
                by_tokens[row.conditioning->tokens].push_back(row);
                row.conditioning = cond;
            }
            row.out = {each.output->data.data() + i * out, out};
            by_tokens[cond ? cond->tokens : 0].push_back(row);
        }
    }
    for (const auto & [tokens, all] : by_tokens) {
        // Calls of about the same size, so that they need few graphs.
        const size_t calls = (all.size() + static_cast<size_t>(most_rows) - 1) / static_cast<size_t>(most_rows);
        const size_t most = (all.size() + calls - 1) / calls;
        for (size_t at = 0; at < all.size(); at += most) {
            forward_shared({all.data() + at, std::min(most, all.size() - at)}, h, w, job);
        }
    }
    for (size_t i = 0; i < evaluations.size(); ++i) {
        if (unconditional[i].empty()) continue;
        const SharedEvaluation & each = evaluations[i];
        const size_t images = static_cast<size_t>(each.x->shape[0]), size = each.output->data.size() / images;
        const std::vector<float> conditional = each.output->data;
        for (size_t at = 0; at < conditional.size(); at += size) {
            samplers::apply_guidance({unconditional[i].data() + at, size}, {conditional.data() + at, size}, each.guidance.scale,
                                     each.guidance.rescale, 0, {each.output->data.data() + at, size});
        }
    }
}

// ---- a run -----------------------------------------------------------------------------------------------------------

DenoisingRun::DenoisingRun(Denoiser & denoiser, Conditioning conditioning, std::optional<Conditioning> unconditional,
                           const SamplingRequest & sampling, const DenoisingCall & call, const DenoisingPlan & plan)
    : denoiser_(denoiser),
      conditioning_(std::move(conditioning)),
      unconditional_(std::move(unconditional)),
      interval_(sampling.guidance_interval),
      deep_cache_(sampling.deep_cache),
      plan_(plan),
      claim_(denoiser.residency_.claims(), denoiser.run_bytes(call)) {
    guidance_ = {&conditioning_, unconditional_ ? &*unconditional_ : nullptr, sampling.guidance_scale, sampling.guidance_rescale};
    guidance_.image_scale = sampling.image_guidance_scale;
    if (deep_cache_.on()) features_.resize(static_cast<size_t>(call.shape[0]));
}

Guidance DenoisingRun::guidance_at(const EvaluationPlace & place) const {
    Guidance now = guidance_;
    if (place.progress < interval_[0] || place.progress >= interval_[1]) now.unconditional = nullptr, now.scale = 1.0;
    return now;
}

void DenoisingRun::evaluate(const Latents & x, const EvaluationPlace & place, Latents & output, const JobContext & job) {
    const Guidance now = guidance_at(place);
    const int rows = denoiser_.rows(now);
    const bool turned = rows_ != 0 && rows_ != rows;
    const bool told_another = denoiser_.form().guidance && rows_ != 0 && scale_ != now.scale;
    rows_ = rows, scale_ = now.scale;
    // Graphs for another batch size, which are not in the plan.
    if (turned && !denoiser_.residency_.keeps_all()) denoiser_.network().runner().clear();
    // Features are also recomputed when guidance begins or ends, so that running its evaluations as one batch makes no
    // difference, and when the scale of a network with a scale input changes.
    if (turned || told_another || place.index % static_cast<size_t>(deep_cache_.interval) == 0) {
        for (auto & picture : features_) picture.fill({deep_cache_.branch, {}, {}});
    }
    denoiser_.evaluate(x, {&place.timestep, 1}, now, plan_, deep_cache_.on() ? &features_ : nullptr, output, job);
}

std::shared_ptr<DenoisingRun> Denoiser::start_run(Conditioning conditioning, std::optional<Conditioning> unconditional,
                                                  const SamplingRequest & sampling, const DenoisingCall & call,
                                                  const DenoisingPlan & plan) {
    return std::make_shared<DenoisingRun>(*this, std::move(conditioning), std::move(unconditional), sampling, call, plan);
}

Predict predict_with(std::shared_ptr<DenoisingRun> run) {
    return [run = std::move(run)](const Latents & x, const EvaluationPlace & place, Latents & output, const JobContext & job) {
        run->evaluate(x, place, output, job);
    };
}

}  // namespace latent::pipeline
