// The whole way from a request to pictures, and the sampling loop that it is made of.
#include <algorithm>
#include <chrono>

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

}  // namespace

Predict LatentPipeline::predictor(const Guidance & guidance) {
    // The pipeline outlives its samplers' steps: the bindings hold it for as long as a job runs.
    return [this, guidance](const Latents & x, double timestep, Latents & output, const JobContext & job) {
        use(part("unet"), job);
        if (!unet_->runner().bytes()) free_graphs_of_others(*unet_);
        evaluate(x, {&timestep, 1}, guidance, nullptr, output, job);
    };
}

/// Whether the two halves of guidance run as one batch; throws out_of_memory where not even one alone fits the caller's bound.
bool LatentPipeline::plan_guidance(const std::array<int64_t, 4> & shape, int64_t tokens, bool guided) const {
    if (one_part_at_a_time_) guided = false;
    if (request_.max_bytes == 0) return guided;
    uint64_t held = unet_->weights().bytes();
    for (const models::Network * other : networks()) {
        if (other != unet_.get() && !one_part_at_a_time_) held += other->weights().bytes();
    }
    const auto needed = [&](int64_t batch) { return held + unet_->measure({batch, shape[2], shape[3], tokens}).bytes; };
    if (guided && needed(2) <= request_.max_bytes) return true;
    const uint64_t least = needed(1);
    if (least <= request_.max_bytes) return false;
    throw Error(ErrorCode::out_of_memory,
                "The U-Net at this size needs " + std::to_string(least >> 20) + " MiB with its weights, memory.maxBytes allows " +
                    std::to_string(request_.max_bytes >> 20) + " MiB: choose a smaller size or dtype, or raise the bound",
                Json{{"required", least}, {"available", request_.max_bytes}}.dump());
}

std::unique_ptr<Sampler> LatentPipeline::start_sampling(const SamplingRequest & request, const Latents & start,
                                                        const Latents * image, const Conditioning * conditioning,
                                                        const Conditioning * unconditional) {
    check_latents(start, "sample");
    if (!unet_) throw Error(ErrorCode::unsupported_model, "sample: this model has no U-Net");
    const int multiple = unet_->config().size_multiple();
    if (start.shape[2] % multiple != 0 || start.shape[3] % multiple != 0) {
        throw Error(ErrorCode::invalid_argument, "sample: latent sides must be multiples of " + std::to_string(multiple));
    }
    if (conditioning == nullptr || conditioning->dim != unet_->config().context_dim ||
        (unconditional && unconditional->dim != conditioning->dim)) {
        throw Error(ErrorCode::invalid_argument,
                    "sample: needs conditioning of width " + std::to_string(unet_->config().context_dim));
    }
    // The caller's objects may be disposed of while the run lives on.
    struct Held {
        Conditioning conditioning, unconditional;
    };
    auto held = std::make_shared<Held>();
    held->conditioning = *conditioning;
    if (unconditional) held->unconditional = *unconditional;
    Guidance guidance{&held->conditioning, unconditional ? &held->unconditional : nullptr, request.guidance_scale,
                      request.guidance_rescale, plan_guidance(start.shape, conditioning->tokens, unconditional != nullptr)};
    Predict predict = [held, inner = predictor(guidance)](const Latents & x, double timestep, Latents & output,
                                                          const JobContext & job) { inner(x, timestep, output, job); };

    SeededNoise noise(parse_rng_kind(request.rng), request.seed, static_cast<size_t>(start.shape[0]));
    std::vector<float> first_draw(start.data.size());
    noise.normal(first_draw);  // what the start noise of this seed was
    return std::make_unique<SamplingRun>(samplers::make_solver(solver_options(request, opened_.spec, image != nullptr)),
                                         std::move(predict), std::move(noise), start, image);
}

GenerateResult LatentPipeline::generate(const GenerateRequest & request, const JobContext & job) {
    GenerateResult result;
    Stopwatch watch;
    const ModelSpec & spec = opened_.spec;
    double loaded = load_ms_;
    const auto lap = [&](double & stage_ms) {  // weights that a stage had to read count as loading
        const double load = load_ms_ - loaded;
        loaded = load_ms_;
        stage_ms = watch.lap() - load;
        result.timings.load_ms += load;
    };
    if (!unet_ || !text_ || !first_stage_) {
        throw Error(ErrorCode::unsupported_model,
                    "generate: needs a text encoder, a U-Net and a first stage, and this model has not all of them");
    }
    if (request.mask) throw Error(ErrorCode::unsupported_model, "generate: inpainting with a mask is not possible yet");
    const int width = request.width > 0 ? request.width : spec.image_size,
              height = request.height > 0 ? request.height : spec.image_size;
    const SamplingRequest & sampling = request.sampling;
    // Everything that can be refused is refused before the first network runs.
    auto solver = samplers::make_solver(solver_options(sampling, spec, request.image.has_value()));
    Latents start{latent_shape(width, height, request.count), {}};
    const int multiple = unet_->config().size_multiple();
    if (start.shape[2] % multiple != 0 || start.shape[3] % multiple != 0) {
        throw Error(ErrorCode::invalid_argument,
                    "width and height must be multiples of " + std::to_string(multiple * spec.downsampling()));
    }
    if (request.latents && request.latents->shape != start.shape) {
        throw Error(ErrorCode::invalid_argument, "latents: the shape does not fit the size and count asked for");
    }

    // Latents of the loop and the solver's history, then the decoded floats and the pictures made of them.
    const uint64_t numbers = static_cast<uint64_t>(start.shape[0] * start.shape[1] * start.shape[2] * start.shape[3]);
    const uint64_t pixels = static_cast<uint64_t>(request.count) * static_cast<uint64_t>(width) * static_cast<uint64_t>(height);
    require_memory(8 * numbers * sizeof(float) + 3 * pixels * (sizeof(float) + 2), "generate: pictures of this size and count");

    const bool guided = sampling.guidance_scale != 1.0;
    int64_t tokens = 0;
    for (const TokenChunk & chunk : request.prompt.chunks) tokens += static_cast<int64_t>(chunk.ids.size());
    const bool as_batch = plan_guidance(start.shape, tokens, guided);
    if (request_.max_bytes) (void)plan_decode(start.shape[2], start.shape[3]);

    const Conditioning conditioning = encode_prompt(request.prompt, job);
    Conditioning unconditional;
    if (guided) unconditional = encode_prompt(request.negative, job);

    // Draws per seed. mt19937 follows diffusers: the posterior sample of the image comes before the start noise; philox follows
    // the web UI: the start noise is the seed's first draw.
    SeededNoise noise(parse_rng_kind(sampling.rng), sampling.seed, static_cast<size_t>(request.count));
    const bool image_first = sampling.rng == "mt19937";
    std::optional<Latents> clean;
    Latents encoded;
    if (request.image) {
        if (request.image->shape[3] != width || request.image->shape[2] != height) {
            throw Error(ErrorCode::invalid_argument, "image: its size must be width x height");
        }
        encoded = moments(*request.image, job);
        if (encoded.shape[0] != 1 && encoded.shape[0] != request.count) {
            throw Error(ErrorCode::invalid_argument, "image: one picture, or one per count");
        }
        if (image_first) clean = from_moments(encoded, request.count, &noise);
    }
    start.data.resize(static_cast<size_t>(start.shape[0] * start.shape[1] * start.shape[2] * start.shape[3]));
    noise.normal(start.data);
    if (request.latents) start.data = request.latents->data;
    if (request.image && !image_first) clean = from_moments(encoded, request.count, &noise);
    lap(result.timings.encode_ms);

    const Guidance guidance{&conditioning, guided ? &unconditional : nullptr, sampling.guidance_scale, sampling.guidance_rescale,
                            as_batch};
    SamplingRun run(std::move(solver), predictor(guidance), std::move(noise), start, clean ? &*clean : nullptr);
    job.report(Phase::sample, 0, run.steps());
    while (!run.done()) {
        run.step(job);
        job.report(Phase::sample, run.index(), run.steps());
        if (request.preview_every > 0 && job.preview && !run.done() && run.index() % request.preview_every == 0) {
            const bool through_decoder = request.preview_method == "vae";
            std::vector<Picture> decoded;
            if (through_decoder) decoded = to_pictures(decode(run.denoised(), job));
            for (int i = 0; i < request.count; ++i) {
                job.preview(run.index(), i,
                            through_decoder ? std::move(decoded[static_cast<size_t>(i)]) : preview(run.denoised(), i));
            }
        }
    }
    lap(result.timings.sample_ms);

    ImageTensor image = decode(run.latents(), job);
    if (request.output_float) {
        result.tensor = std::move(image);
    } else {
        result.images = to_pictures(image);
    }
    lap(result.timings.decode_ms);

    const samplers::SolverOptions options = solver_options(sampling, spec, request.image.has_value());
    result.options = {{"width", width},
                      {"height", height},
                      {"count", request.count},
                      {"steps", options.steps},
                      {"sampler", options.sampler},
                      {"schedule", options.schedule},
                      {"guidanceScale", sampling.guidance_scale},
                      {"guidanceRescale", sampling.guidance_rescale},
                      {"eta", options.eta},
                      {"seed", std::to_string(sampling.seed)},
                      {"rng", sampling.rng}};
    return result;
}

}  // namespace latent::pipeline
