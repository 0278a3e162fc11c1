// The whole way from a request to pictures, and the sampling loop that it is made of.
#include <algorithm>
#include <chrono>

#include "pipeline/checks.h"
#include "pipeline/image/inpainting.h"
#include "pipeline/latent_pipeline.h"

namespace latent::pipeline {
namespace {

class Stopwatch {
public:
    /// Milliseconds since the last call (or construction).
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        const double ms = std::chrono::duration<double, std::milli>(now - last_).count();
        last_ = now;
        return ms;
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// mt19937 follows diffusers: what a picture draws (posterior sample, noise augmentation) comes before the start noise. philox
/// follows the web UI: the start noise is the seed's first draw.
bool pictures_draw_first(const std::string & rng) {
    return rng == "mt19937";
}

Json settled_options(const SamplingRequest & sampling, const samplers::SolverOptions & solver, const Frame & frame, int count) {
    return {{"width", frame.width},
            {"height", frame.height},
            {"count", count},
            {"steps", solver.steps},
            {"sampler", solver.sampler},
            {"schedule", solver.schedule},
            {"guidanceScale", sampling.guidance_scale},
            {"guidanceRescale", sampling.guidance_rescale},
            {"eta", solver.eta},
            {"seed", std::to_string(sampling.seed)},
            {"rng", sampling.rng}};
}

}  // namespace

// ---- the loop in the caller's hands ----------------------------------------------------------------------------------

Conditioning LatentPipeline::encode_prompt(const PromptTokens & tokens, const JobContext & job) {
    if (!conditioners_) throw Error(ErrorCode::unsupported_model, "encodePrompt: a first stage alone has no text encoder");
    conditioners_->check_tokens(tokens);
    require_conditioning_fits(opened_.spec.image_size, opened_.spec.image_size);
    Conditioning out = conditioners_->encode_tokens(tokens, job);
    update_usage();
    return out;
}

Conditioning LatentPipeline::encode_condition(const ConditionRequest & request, const JobContext & job) {
    part("unet");
    int64_t pictures = 1;
    for (const auto * each : {&request.image, &request.mask}) {
        if (*each) pictures = std::max(pictures, (*each)->shape[0]);
    }
    conditioners_->check(request, pictures);
    const bool has_size = request.image || request.labels;
    const Frame frame = has_size ? conditioners_->frame(request, 0, 0) : Frame{};
    require_conditioning_fits(frame.width, frame.height);
    SeededNoise noise(parse_rng_kind(request.rng), request.seed, static_cast<size_t>(pictures));
    if (!pictures_draw_first(request.rng)) {
        std::vector<float> start_noise(static_cast<size_t>(pictures));
        noise.normal(start_noise);  // the first draw is the start noise's, whatever its size
    }
    Conditioning out = conditioners_->encode(request, frame, pictures, noise, job);
    update_usage();
    return out;
}

EmbeddingRows LatentPipeline::embed_images(const ImageTensor & pixels, const JobContext & job) {
    if (!conditioners_) throw Error(ErrorCode::unsupported_model, "embedImages: a first stage alone has no image encoder");
    EmbeddingRows out = conditioners_->embed_images(pixels, job);
    update_usage();
    return out;
}

Predict LatentPipeline::predictor(const Guidance & guidance, const SamplingRequest & sampling, const UNetCall & call) {
    const SamplingRequest::DeepCache deep_cache = sampling.deep_cache;
    struct State {
        Kept kept;
        Features features;
        std::optional<bool> guided;  // the evaluation before
        State(const std::shared_ptr<std::atomic<uint64_t>> & total, uint64_t bytes) : kept(total, bytes) {}
    };
    const auto state = std::make_shared<State>(kept_, run_bytes(call));
    if (deep_cache.on()) state->features.resize(static_cast<size_t>(call.shape[0]));
    // The pipeline outlives its samplers' steps: the bindings hold it for as long as a job runs.
    return [this, guidance, deep_cache, state, interval = sampling.guidance_interval](
               const Latents & x, const EvaluationPlace & place, Latents & output, const JobContext & job) {
        Guidance now = guidance;
        if (place.progress < interval[0] || place.progress >= interval[1]) now.unconditional = nullptr;
        const bool turned = state->guided && *state->guided != now.guided();
        state->guided = now.guided();
        if (turned && !keeps_all()) unet_->runner().clear();  // graphs of another batch, which are not in the plan
        // Features are made anew where guidance begins or ends too, so that the order in which the halves run makes no
        // difference.
        if (turned || place.index % static_cast<size_t>(deep_cache.interval) == 0) {
            for (auto & picture : state->features) picture.fill({deep_cache.branch, {}, {}});
        }
        if (deep_cache.on()) now.features = &state->features;
        use(part("unet"), job);
        evaluate(x, {&place.timestep, 1}, now, output, job);
    };
}

std::unique_ptr<Sampler> LatentPipeline::start_sampling(const SamplingRequest & request, const Latents & start,
                                                        const Latents * image, const Conditioning * conditioning,
                                                        const Conditioning * unconditional) {
    check_latents(start, "sample");
    part("unet");
    const int multiple = unet_->config().size_multiple();
    if (start.shape[2] % multiple != 0 || start.shape[3] % multiple != 0) {
        refuse("sample: latent sides must be multiples of " + std::to_string(multiple));
    }
    // The caller's objects may be disposed of while the run lives on.
    struct Held {
        std::optional<Conditioning> conditioning, unconditional;
    };
    auto held = std::make_shared<Held>();
    Guidance guidance;
    guidance.scale = request.guidance_scale, guidance.rescale = request.guidance_rescale;
    if (conditioning) guidance.conditioning = &held->conditioning.emplace(*conditioning);
    if (unconditional) guidance.unconditional = &held->unconditional.emplace(*unconditional);
    if (conditioning && conditioning->concat) guidance.concat = &*held->conditioning->concat;
    check_conditioning("sample", start.shape, guidance);
    const UNetCall call{start.shape, guidance.tokens(), guidance.guided(), request.deep_cache};
    require_memory(features_of(call), "sample: features of so many pictures");
    with_nearest([&] { return wish_of(call); }, [&] { guidance.plan = plan_unet(call); });
    Predict predict = [held, inner = predictor(guidance, request, call)](const Latents & x, const EvaluationPlace & place,
                                                                         Latents & output, const JobContext & job) {
        inner(x, place, output, job);
    };

    SeededNoise noise(parse_rng_kind(request.rng), request.seed, static_cast<size_t>(start.shape[0]));
    std::vector<float> first_draw(start.data.size());
    noise.normal(first_draw);  // what the start noise of this seed was
    return std::make_unique<SamplingRun>(samplers::make_solver(solver_options(request, opened_.spec, image != nullptr)),
                                         std::move(predict), std::move(noise), start, image, nullptr,
                                         request.denoising_start > 0);
}

// ---- generate --------------------------------------------------------------------------------------------------------

/// Everything that can be refused is refused here, before the first network runs.
LatentPipeline::Plan LatentPipeline::plan_generate(const GenerateRequest & request) const {
    require_parts("generate");
    const ModelSpec & spec = opened_.spec;
    const SamplingRequest & sampling = request.sampling;
    Plan plan;
    plan.condition = request.condition;
    if (!conditioners_->takes_image()) plan.image.swap(plan.condition.image);
    if (!plan.image && conditioners_->takes_image() && sampling.strength != 1.0) {
        refuse("strength is for image to image; this model starts from noise and is conditioned on the picture");
    }
    if (!conditioners_->takes_image()) plan.mask.swap(plan.condition.mask);
    conditioners_->check(plan.condition, request.count);
    plan.guided = sampling.guidance_scale != 1.0;
    if (plan.guided) conditioners_->check_unconditional(request.negative);
    plan.solver = samplers::make_solver(solver_options(sampling, spec, plan.image.has_value()));

    plan.frame = conditioners_->frame(plan.condition, request.width, request.height);
    const Frame & frame = plan.frame;
    const int64_t factor = spec.downsampling();
    plan.shape = {request.count, spec.latent_channels(), frame.padded_height / factor, frame.padded_width / factor};
    if (request.latents && request.latents->shape != plan.shape) {
        refuse("latents: the shape does not fit the size and count asked for");
    }
    if (plan.image) {
        const auto & image = plan.image->shape;
        if (image[3] != frame.width || image[2] != frame.height) refuse("image: its size must be width x height");
        if (image[0] != 1 && image[0] != request.count) refuse("image: one picture, or one per count");
    }
    if (plan.mask) {
        const auto & mask = plan.mask->shape;
        if (!plan.image) refuse("mask: there is no image of which it could say what to repaint");
        if (mask[1] != 1 || mask[3] != frame.width || mask[2] != frame.height) refuse("mask: one channel of width x height");
        if (mask[0] != 1 && mask[0] != request.count) refuse("mask: one, or one per count");
        binarise(*plan.mask);
    }

    // Latents of the loop and the solver's history, then the decoded floats and the pictures made of them.
    const uint64_t numbers = elements(plan.shape), channels = static_cast<uint64_t>(spec.first_stage->out_channels);
    const uint64_t pixels = static_cast<uint64_t>(request.count) * static_cast<uint64_t>(frame.padded_width) *
                            static_cast<uint64_t>(frame.padded_height);
    const PictureMemory picture = memory_of(request);
    const UNetCall call = call_of(picture);
    require_memory(8 * numbers * sizeof(float) + channels * pixels * (sizeof(float) + 2) + features_of(call),
                   "generate: pictures of this size and count");
    require_conditioning_fits(frame.width, frame.height);
    plan.unet = plan_unet(call);
    require_first_stage_fits(picture);
    return plan;
}

/// Conditioning and start of the run: everything before the first step.
SamplingRun LatentPipeline::start_run(const GenerateRequest & request, Plan & plan, Conditioning & conditioning,
                                      Conditioning & unconditional, const JobContext & job) {
    const SamplingRequest & sampling = request.sampling;
    SeededNoise noise(parse_rng_kind(sampling.rng), sampling.seed, static_cast<size_t>(request.count));
    const bool pictures_first = pictures_draw_first(sampling.rng);
    Latents start{plan.shape, std::vector<float>(elements(plan.shape))};
    if (!pictures_first) noise.normal(start.data);

    conditioning = conditioners_->encode(plan.condition, plan.frame, request.count, noise, job);
    if (plan.guided) unconditional = conditioners_->unconditional(request.negative, conditioning, job);
    std::optional<Latents> clean;
    if (plan.image) clean = code_of(encode_raw(*plan.image, job), request.count, &noise, opened_.spec.scale_factor);

    if (pictures_first) noise.normal(start.data);
    if (request.latents) start.data = request.latents->data;
    Guidance guidance{&conditioning,
                      plan.guided ? &unconditional : nullptr,
                      conditioning.concat ? &*conditioning.concat : nullptr,
                      sampling.guidance_scale,
                      sampling.guidance_rescale,
                      plan.unet};
    check_conditioning("generate", plan.shape, guidance);
    std::optional<Latents> hole;
    if (plan.mask) hole = latent_hole(*plan.mask, plan.shape[2], plan.shape[3]);
    return SamplingRun(std::move(plan.solver), predictor(guidance, sampling, call_of(memory_of(request))), std::move(noise),
                       start, clean ? &*clean : nullptr, hole ? &*hole : nullptr);
}

void LatentPipeline::sample(const GenerateRequest & request, SamplingRun & run, const JobContext & job) {
    job.report(Phase::sample, 0, run.steps());
    while (!run.done()) {
        run.step(job);
        job.report(Phase::sample, run.index(), run.steps());
        const bool shown = request.preview_every > 0 && job.preview && !run.done() && run.index() % request.preview_every == 0;
        if (!shown) continue;
        const bool through_decoder = request.preview_method == "vae";
        std::vector<Picture> decoded;
        if (through_decoder) decoded = to_pictures(decode_latents(run.denoised(), true, job));
        for (int i = 0; i < request.count; ++i) {
            job.preview(run.index(), i,
                        through_decoder ? std::move(decoded[static_cast<size_t>(i)]) : preview(run.denoised(), i));
        }
    }
}

ImageTensor LatentPipeline::finish(const Plan & plan, const Latents & latents, const JobContext & job) {
    ImageTensor picture = decode_latents(latents, true, job);
    if (plan.frame.padded()) picture = crop_to(picture, plan.frame.height, plan.frame.width);
    if (conditioners_->inpaints()) {
        ImageTensor mask = *plan.condition.mask;
        binarise(mask);
        keep_outside(picture, *plan.condition.image, mask);
    } else if (plan.mask) {
        keep_outside(picture, *plan.image, *plan.mask);
    }
    return picture;
}

/// Of a sound request.
LatentPipeline::PictureMemory LatentPipeline::memory_of(const GenerateRequest & request) const {
    const Frame frame = conditioners_->frame(request.condition, request.width, request.height);
    PictureMemory picture{frame.width, frame.height, request.sampling.guidance_scale != 1.0};
    picture.from_image = request.condition.image && !conditioners_->takes_image();
    picture.tokens = conditioners_->tokens(&request.condition);
    picture.count = request.count;
    picture.deep_cache = request.sampling.deep_cache;
    picture.decoded_previews = request.preview_every > 0 && request.preview_method == "vae";
    return picture;
}

GenerateResult LatentPipeline::generate(const GenerateRequest & request, const JobContext & job) {
    GenerateResult result;
    with_nearest([&] { return wish_of(memory_of(request)); }, [&] { result = make_pictures(request, job); });
    return result;
}

GenerateResult LatentPipeline::make_pictures(const GenerateRequest & request, const JobContext & job) {
    GenerateResult result;
    Stopwatch watch;
    double loaded = load_ms_;
    const auto lap = [&](double & stage_ms) {  // weights that a stage had to read count as loading
        const double load = load_ms_ - loaded;
        loaded = load_ms_;
        stage_ms = watch.lap() - load;
        result.timings.load_ms += load;
    };
    Plan plan = plan_generate(request);
    Conditioning conditioning, unconditional;
    Latents latents;
    {
        SamplingRun run = start_run(request, plan, conditioning, unconditional, job);
        lap(result.timings.encode_ms);
        sample(request, run, job);
        latents = std::move(run.latents());
    }  // features that were kept go with the run, before the decoder needs room
    lap(result.timings.sample_ms);
    ImageTensor picture = finish(plan, latents, job);
    if (request.output_float) {
        result.tensor = std::move(picture);
    } else {
        result.images = to_pictures(picture);
    }
    lap(result.timings.decode_ms);
    result.float32_parts = float32_parts();

    const samplers::SolverOptions solver = solver_options(request.sampling, opened_.spec, plan.image.has_value());
    result.options = settled_options(request.sampling, solver, plan.frame, request.count);
    if (conditioning.class_label >= 0) result.options["noiseLevel"] = conditioning.class_label;
    return result;
}

}  // namespace latent::pipeline
