#include "pipeline/recipe.h"

#include "pipeline/image/inpainting.h"
#include "pipeline/image/preview.h"
#include "pipeline/image/to_pictures.h"
#include "pipeline/memory/stage_plan.h"
#include "pipeline/messages.h"
#include "pipeline/sampling/variation.h"

namespace latent::pipeline {
bool pictures_draw_first(const std::string & rng) {
    return rng == "mt19937";
}

void StageClock::start() {
    last_ = std::chrono::steady_clock::now();
    loaded_ = residency_.load_ms();
}

void StageClock::stop(double & stage_ms) {
    const double load = residency_.load_ms() - loaded_;
    const auto now = std::chrono::steady_clock::now();
    stage_ms = std::chrono::duration<double, std::milli>(now - last_).count() - load;
    load_ms_ += load;
    start();
}

GenerateResult Recipe::make() {
    clock_.start();
    plan();
    Latents latents;
    {
        SamplingRun run = start();
        while (!run.done()) {
            run.step(job_);
            report(run);
        }
        latents = end_sampling(run);
    }  // frees the run's cached features before the decoder needs memory
    return result(latents);
}

Latents Recipe::end_sampling(SamplingRun & run) {
    clock_.stop(timings_.sample_ms);
    shared_.reset();
    return std::move(run.latents());
}

GenerateResult Recipe::result(const Latents & latents) {
    GenerateResult result;
    if (request_.output_latents) {
        result.tensor = {latents.shape, latents.data};
    } else if (request_.output_float) {
        result.tensor = finish(latents);
    } else {
        result.images = to_pictures(finish(latents));
    }
    clock_.stop(timings_.decode_ms);
    timings_.load_ms = clock_.load_ms();
    result.timings = timings_;
    result.float32_parts = stages_.residency.float32_parts();
    result.eta = solver_options(request_.sampling, stages_.spec(), starts_from_image()).eta;
    return result;
}

// ---- plan ------------------------------------------------------------------------------------------------------------

/// All checks happen here, before the first network runs.
void Recipe::plan() {
    stages_.require_all("generate");
    if (request_.preview_every > 0 && request_.preview_method == "taesd") (void)stages_.require_tiny_stage();
    const Conditioners & conditioners = *stages_.conditioners;
    const SamplingRequest & sampling = request_.sampling;
    inputs_ = request_.inputs;
    if (!conditioners.takes_image()) image_.swap(inputs_.image), mask_.swap(inputs_.mask);
    if (!starts_from_image() && conditioners.takes_image() && sampling.strength != 1.0) {
        refuse("strength is for image to image; this model starts from noise and is conditioned on the image");
    }
    guided_ = stages_.denoiser->rows(sampling.guidance_scale, sampling.image_guidance_scale) > 1;
    plan_refiner();
    conditioners.check(inputs_, request_.count);
    if (guided_) conditioners.check_unconditional(negative_of(conditioners));
    solver_ = samplers::make_solver(solver_options(sampling, stages_.spec(), starts_from_image()));

    frame_ = conditioners.frame(inputs_, request_.width, request_.height);
    shape_ = stages_.latent_shape(frame_.padded_width, frame_.padded_height, request_.count);
    if (request_.latents && request_.latents->shape != shape_) {
        refuse("latents: the shape does not match the requested size and count");
    }
    if (request_.variation_strength > 0 && request_.latents) refuse("latents: variations are of the noise of seeds");
    plan_image();
    plan_memory();
}

/// The refiner reads the same prompts; each of the two models reads its own part of the sizes.
void Recipe::plan_refiner() {
    if (!stages_.refiner) return;
    const Refiner & refiner = *stages_.refiner;
    refined_ = request_.refiner_switch_at < 1;
    refiner_inputs_ = refiner.inputs_of(inputs_);
    inputs_.sizes = without_scores(std::move(inputs_.sizes));
    if (!refined_) return;
    refiner.conditioners().check(refiner_inputs_, request_.count);
    const std::optional<PromptTokens> negative = negative_of(refiner.conditioners());
    if (guided_) refiner.conditioners().check_unconditional(negative ? refiner.tokens_of(*negative) : negative);
}

/// If something other than an encoded empty prompt represents no prompt.
std::optional<PromptTokens> Recipe::negative_of(const Conditioners & conditioners) const {
    return request_.empty_negative && conditioners.has_null() ? std::nullopt : request_.negative;
}

void Recipe::plan_image() {
    if (request_.image_latents) {
        if (image_) refuse("image: there are already latents of an image");
        auto shape = request_.image_latents->shape;
        if (shape[0] == 1) shape[0] = shape_[0];
        if (shape != shape_) refuse("image latents: the shape does not match the requested size and count");
    }
    if (image_) {
        stages_.first_stage->require_encoder("image");
        const auto & image = image_->shape;
        if (image[3] != frame_.width || image[2] != frame_.height) refuse("image: the size must be width x height");
        if (image[0] != 1 && image[0] != request_.count) refuse("image: give one, or one per image");
    }
    if (mask_) {
        const auto & mask = mask_->shape;
        if (!image_) refuse("mask: there is no image to repaint");
        if (mask[1] != 1 || mask[3] != frame_.width || mask[2] != frame_.height)
            refuse("mask: must have one channel and the size width x height");
        if (mask[0] != 1 && mask[0] != request_.count) refuse("mask: give one, or one per image");
        binarise(*mask_);
    }
}

void Recipe::plan_memory() {
    // Latents of the loop and the solver's history, then the decoded floats and the images made from them.
    const uint64_t numbers = elements(shape_), channels = static_cast<uint64_t>(stages_.first_stage->form().out_channels);
    const uint64_t pixels = static_cast<uint64_t>(request_.count) * static_cast<uint64_t>(frame_.padded_width) *
                            static_cast<uint64_t>(frame_.padded_height);
    const PictureOutline outline = planner_.outline_of(request_);
    call_ = planner_.call_of(outline);
    require_memory(8 * numbers * sizeof(float) + channels * pixels * (sizeof(float) + 2) + stages_.denoiser->features_of(call_),
                   "generate: images of this size and count");
    planner_.require_conditioning_fits(frame_.width, frame_.height);
    denoising_ = stages_.denoiser->plan(call_);
    if (refined_) {
        refiner_call_ = planner_.refiner_call_of(outline);
        refining_ = stages_.refiner->denoiser().plan(refiner_call_);
    }
    planner_.require_first_stage_fits(outline);
}

// ---- encode ----------------------------------------------------------------------------------------------------------

SeededNoise Recipe::seeded_noise() const {
    const size_t count = static_cast<size_t>(request_.count);
    const RngKind kind = parse_rng_kind(request_.sampling.rng);
    if (request_.variation_strength > 0) return {kind, std::vector<uint64_t>(count, request_.sampling.seed)};
    return {kind, request_.sampling.seed, count};
}

void Recipe::draw_start(SeededNoise & noise, Latents & start) const {
    noise.normal(start.data);
    if (!(request_.variation_strength > 0)) return;
    Latents other{start.shape, std::vector<float>(start.data.size())};
    SeededNoise(parse_rng_kind(request_.sampling.rng), request_.variation_seed, static_cast<size_t>(request_.count))
        .normal(other.data);
    vary_noise(start, other, request_.variation_strength);
}

/// Conditioning and setup of the run: everything before the first step.
SamplingRun Recipe::start() {
    const SamplingRequest & sampling = request_.sampling;
    SeededNoise noise = seeded_noise();
    const bool pictures_first = pictures_draw_first(sampling.rng);
    Latents start{shape_, std::vector<float>(elements(shape_))};
    if (!pictures_first) draw_start(noise, start);

    const EncodeContext context{frame_, request_.count, noise, job_};
    Conditioning conditioning = stages_.conditioners->encode(inputs_, context);
    std::optional<Conditioning> unconditional;
    if (guided_) unconditional = stages_.conditioners->encode_unconditional(inputs_, negative_of(*stages_.conditioners), context);
    std::optional<Latents> clean = request_.image_latents;
    if (image_) {
        FirstStageRunner & stage = *stages_.first_stage;
        clean = stage.latents_of(stage.encode_raw(*image_, job_), request_.count, &noise);
    }

    if (pictures_first) draw_start(noise, start);
    if (request_.latents) start.data = request_.latents->data;
    Guidance guidance{&conditioning, unconditional ? &*unconditional : nullptr, sampling.guidance_scale};
    guidance.image_scale = sampling.image_guidance_scale;
    stages_.denoiser->check("generate", shape_, guidance);
    std::optional<Latents> hole;
    if (mask_) hole = latent_hole(*mask_, shape_[2], shape_[3]);
    shared_ = stages_.denoiser->start_run(std::move(conditioning), std::move(unconditional), sampling, call_, denoising_);
    Predict predict = predict_with(shared_);
    if (refined_) predict = with_refiner(context, std::move(predict)), shared_.reset();
    SamplingRun run(std::move(solver_), std::move(predict), std::move(noise), start, clean ? &*clean : nullptr,
                    hole ? &*hole : nullptr);
    clock_.stop(timings_.encode_ms);
    job_.report(Phase::sample, 0, run.steps());
    return run;
}

/// Both networks share one list of steps, one solver and its latents; from the switch on, the refiner's evaluations replace those
/// of `base`, as in the web UI. (diffusers starts a second solver there, so multistep samplers start over; others give the same
/// result.)
Predict Recipe::with_refiner(const EncodeContext & context, Predict base) {
    Refiner & refiner = *stages_.refiner;
    Conditioners & conditioners = refiner.conditioners();
    Conditioning conditioning = conditioners.encode(refiner_inputs_, context);
    std::optional<Conditioning> unconditional;
    if (guided_) {
        std::optional<PromptTokens> negative = negative_of(conditioners);
        if (negative) negative = refiner.tokens_of(std::move(*negative));
        unconditional = conditioners.encode_unconditional(refiner_inputs_, negative, context);
    }
    SamplingRequest sampling = request_.sampling;
    sampling.deep_cache = {};
    const Guidance guidance{&conditioning, unconditional ? &*unconditional : nullptr, sampling.guidance_scale};
    refiner.denoiser().check("refiner", shape_, guidance);
    Predict refine = predict_with(
        refiner.denoiser().start_run(std::move(conditioning), std::move(unconditional), sampling, refiner_call_, refining_));
    return hand_over(std::move(base), std::move(refine),
                     handover_timestep(request_.refiner_switch_at, stages_.spec().schedule.timesteps));
}

// ---- sample ----------------------------------------------------------------------------------------------------------

void Recipe::report(const SamplingRun & run) {
    job_.report(Phase::sample, run.index(), run.steps());
    const bool due = request_.preview_every > 0 && run.index() % request_.preview_every == 0;
    if (due && job_.preview && !run.done()) show(run);
}

void Recipe::show(const SamplingRun & run) {
    const bool through_decoder = request_.preview_method != "linear";
    std::vector<Picture> decoded;
    if (through_decoder) {
        FirstStageRunner & stage = request_.preview_method == "taesd" ? stages_.require_tiny_stage() : *stages_.first_stage;
        decoded = to_pictures(stage.decode(run.denoised(), true, job_));
    }
    for (int i = 0; i < request_.count; ++i) {
        job_.preview(
            run.index(), i,
            through_decoder ? std::move(decoded[static_cast<size_t>(i)]) : linear_preview(run.denoised(), i, stages_.spec()));
    }
}

// ---- decode ----------------------------------------------------------------------------------------------------------

ImageTensor Recipe::finish(const Latents & latents) {
    ImageTensor picture = stages_.first_stage->decode(latents, true, job_);
    if (frame_.padded()) picture = crop_to(picture, frame_.height, frame_.width);
    if (stages_.conditioners->inpaints()) {
        ImageTensor mask = *inputs_.mask;
        binarise(mask);
        keep_outside(picture, *inputs_.image, mask);
    } else if (mask_) {
        keep_outside(picture, *image_, *mask_);
    }
    return picture;
}

}  // namespace latent::pipeline
