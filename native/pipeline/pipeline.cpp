#include "pipeline/pipeline.h"

#include <algorithm>

#include "core/memory.h"
#include "pipeline/adapters.h"
#include "pipeline/image/preview.h"
#include "pipeline/memory/memory_planner.h"
#include "pipeline/memory/stage_plan.h"
#include "pipeline/messages.h"
#include "pipeline/recipe.h"
#include "pipeline/sampling/loss.h"
#include "pipeline/stages.h"
#include "pipeline/together.h"

namespace latent::pipeline {

Pipeline::Pipeline(const LoadRequest & request)
    : stages_(std::make_unique<Stages>(request, open_request(request), graph::Device::create(request.device, request.threads))),
      planner_(std::make_unique<MemoryPlanner>(*stages_)),
      adapters_(std::make_unique<Adapters>(*stages_->opened, stages_->own_networks(), stages_->residency)) {
    // Another call may have applied other adapters since the last step of a run.
    stages_->residency.before_use([this](const JobContext & job) { adapters_->apply(job); });
}

Pipeline::~Pipeline() = default;

std::shared_ptr<Pipeline> Pipeline::load(const LoadRequest & request, const JobContext & job) {
    const std::shared_ptr<Pipeline> pipeline(new Pipeline(request));
    if (request.headers_only) return pipeline;
    Stages & stages = *pipeline->stages_;
    PictureOutline usual;
    if (stages.denoiser) usual.rows = stages.denoiser->rows(stages.spec().guidance_scale, SamplingRequest{}.image_guidance_scale);
    pipeline->planner_->advise([&] { return pipeline->planner_->pictures(usual); }, [&] { stages.residency.load(job); });
    return pipeline;
}

// ---- conditioning ----------------------------------------------------------------------------------------------------

Conditioning Pipeline::encode_prompt(const PromptTokens & tokens, const JobContext & job) {
    if (!stages_->conditioners) {
        throw Error(ErrorCode::unsupported_model, "encodePrompt: a first stage has no text encoder");
    }
    stages_->conditioners->check_tokens(tokens);
    adapters_->apply(job);
    planner_->require_conditioning_fits(spec().image_size, spec().image_size);
    Conditioning out;
    if (stages_->conditioners->tells_size()) {
        Inputs inputs;
        inputs.prompt = tokens;
        out = encode_inputs(inputs, job);
    } else {
        out = stages_->conditioners->encode_tokens(tokens, job);
    }
    stages_->residency.refresh_usage();
    return out;
}

Conditioning Pipeline::encode_inputs(const Inputs & inputs, const JobContext & job) {
    stages_->require_denoiser();
    int64_t pictures = 1;
    for (const auto * each : {&inputs.image, &inputs.mask, &inputs.depth}) {
        if (*each) pictures = std::max(pictures, (*each)->shape[0]);
    }
    Conditioners & conditioners = *stages_->conditioners;
    conditioners.check(inputs, pictures);
    adapters_->apply(job);
    const bool has_size = inputs.image || inputs.labels || inputs.depth || conditioners.tells_size();
    const Frame frame = has_size ? conditioners.frame(inputs, inputs.width, inputs.height) : Frame{};
    planner_->require_conditioning_fits(frame.width, frame.height);
    SeededNoise noise(parse_rng_kind(inputs.rng), inputs.seed, static_cast<size_t>(pictures));
    if (!pictures_draw_first(inputs.rng)) {
        std::vector<float> start_noise(static_cast<size_t>(pictures));
        noise.normal(start_noise);  // the first draw belongs to the start noise, whatever its size
    }
    const EncodeContext context{frame, pictures, noise, job};
    Conditioning out = inputs.unconditional ? conditioners.encode_null(inputs, context) : conditioners.encode(inputs, context);
    stages_->residency.refresh_usage();
    return out;
}

EmbeddingRows Pipeline::embed_images(const ImageTensor & pixels, const JobContext & job) {
    if (!stages_->conditioners) {
        throw Error(ErrorCode::unsupported_model, "embedImages: a first stage has no image encoder");
    }
    EmbeddingRows out = stages_->conditioners->image_embedder().embed(pixels, job);
    stages_->residency.refresh_usage();
    return out;
}

EmbeddingRows Pipeline::embed_text(const PromptTokens & tokens, const JobContext & job) {
    if (!stages_->conditioners) {
        throw Error(ErrorCode::unsupported_model, "embedText: a first stage has no text encoder");
    }
    adapters_->apply(job);
    EmbeddingRows out = stages_->conditioners->embed_text(tokens, job);
    stages_->residency.refresh_usage();
    return out;
}

// ---- denoising -------------------------------------------------------------------------------------------------------

Latents Pipeline::create_latents(int width, int height, int batch, uint64_t seed, const std::string & rng,
                                 const CancelToken * cancel) {
    Latents latents{stages_->latent_shape(width, height, batch), {}};
    require_memory(elements(latents.shape) * sizeof(float), "Start noise of this size");
    latents.data.resize(elements(latents.shape));
    SeededNoise(parse_rng_kind(rng), seed, static_cast<size_t>(batch)).normal(latents.data, cancel);
    return latents;
}

Latents Pipeline::predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                          const Conditioning * unconditional, double guidance_scale, const Latents * concat,
                          const JobContext & job, double image_guidance_scale) {
    Denoiser & denoiser = stages_->require_denoiser();
    const auto [n, c, h, w] = latents.shape;
    const Guidance guidance{conditioning, unconditional, guidance_scale, 0.0, concat, image_guidance_scale};
    denoiser.check("predict", latents.shape, guidance);
    if (timesteps.size() != 1 && timesteps.size() != static_cast<size_t>(n)) {
        refuse("predict: " + std::to_string(timesteps.size()) + " timesteps for " + std::to_string(n) +
               " rows; give one, or one per row");
    }
    adapters_->apply(job);
    const DenoisingCall call{latents.shape, guidance.tokens(), denoiser.rows(guidance)};
    Latents output{{n, denoiser.form().out_channels, h, w}, {}};
    planner_->advise([&] { return planner_->evaluations(call); },
                     [&] {
                         const DenoisingPlan plan = denoiser.plan(call);
                         output.data.resize(elements(output.shape));
                         denoiser.evaluate(latents, timesteps, guidance, plan, nullptr, output, job);
                     });
    stages_->residency.refresh_usage();
    return output;
}

std::unique_ptr<SamplingRun> Pipeline::start_sampling(const SamplingRequest & request, const Latents & start,
                                                      const Latents * image, const Conditioning * conditioning,
                                                      const Conditioning * unconditional) {
    stages_->check_latents(start, "sample");
    Denoiser & denoiser = stages_->require_denoiser();
    const int multiple = denoiser.form().size_multiple;
    if (start.shape[2] % multiple != 0 || start.shape[3] % multiple != 0) {
        refuse("sample: latent sides must be multiples of " + std::to_string(multiple));
    }
    const Guidance guidance{
        conditioning, unconditional, request.guidance_scale, request.guidance_rescale, nullptr, request.image_guidance_scale};
    denoiser.check("sample", start.shape, guidance);
    const DenoisingCall call{start.shape, guidance.tokens(), denoiser.rows(guidance), request.deep_cache};
    require_memory(denoiser.features_of(call), "sample: the cached features of so many images");
    DenoisingPlan plan;
    planner_->advise([&] { return planner_->evaluations(call); }, [&] { plan = denoiser.plan(call); });

    SeededNoise noise(parse_rng_kind(request.rng), request.seed, static_cast<size_t>(start.shape[0]));
    std::vector<float> first_draw(start.data.size());
    noise.normal(first_draw);  // skips the start noise of this seed
    std::optional<Conditioning> other;
    if (unconditional) other = *unconditional;
    return std::make_unique<SamplingRun>(
        samplers::make_solver(solver_options(request, spec(), image != nullptr)),
        predict_with(denoiser.start_run(conditioning ? *conditioning : Conditioning{}, std::move(other), request, call, plan)),
        std::move(noise), start, image, nullptr, request.denoising_start > 0);
}

std::vector<double> Pipeline::loss(const ImageTensor & image, const LossRequest & request, const JobContext & job) {
    adapters_->apply(job);
    return denoising_loss(*stages_, *planner_, image, request, job);
}

void Pipeline::generate_together(std::vector<TogetherMember> members, const JobContext & shared) {
    // Adapters belong to the network, so those who want others come later.
    while (!members.empty()) {
        std::vector<TogetherMember> now, later;
        for (TogetherMember & each : members) {
            const bool same = now.empty() || now.front().request->adapters == each.request->adapters;
            (same ? now : later).push_back(std::move(each));
        }
        members = std::move(later);
        std::unique_ptr<Adapters::Call> adapters;
        try {
            adapters = std::make_unique<Adapters::Call>(*adapters_, now.front().request->adapters, shared);
        } catch (...) {
            for (const TogetherMember & each : now) each.failed(std::current_exception());
            continue;
        }
        for (TogetherMember & each : now) {
            each.made = [report = adapters->report(), made = std::move(each.made)](GenerateResult && result) {
                result.adapters = report;
                made(std::move(result));
            };
        }
        Together(*stages_, *planner_, std::move(now), shared).make();
    }
}

GenerateResult Pipeline::generate(const GenerateRequest & request, const JobContext & job) {
    GenerateResult result;
    const Adapters::Call adapters(*adapters_, request.adapters, job);
    planner_->advise([&] { return planner_->pictures(planner_->outline_of(request)); },
                     [&] { result = Recipe(*stages_, *planner_, request, job).make(); });
    result.adapters = adapters.report();
    return result;
}

// ---- the first stage -------------------------------------------------------------------------------------------------

Latents Pipeline::encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                               const JobContext & job) {
    FirstStageRunner & stage = stages_->require_first_stage();
    if (mode != "sample" && mode != "mean" && mode != "moments" && mode != "prequant") {
        refuse("encodeImage: mode \"" + mode + "\"; expected sample, mean, moments or prequant");
    }
    if (mode == "moments" && !stage.form().spread) {
        refuse("encodeImage: this first stage has no posterior, so it has no moments");
    }
    if (mode == "prequant") stage.require_codes("encodeImage: prequant");
    SeededNoise noise(parse_rng_kind(rng), seed, static_cast<size_t>(std::max<int64_t>(image.shape[0], 1)));
    Latents raw;
    planner_->advise([&] { return planner_->encoding(image.shape[2], image.shape[3], image.shape[0]); },
                     [&] { raw = stage.encode_raw(image, job); });
    if (mode == "moments" || mode == "prequant") return raw;
    return stage.latents_of(raw, raw.shape[0], mode == "sample" ? &noise : nullptr);
}

ImageTensor Pipeline::decode(const Latents & latents, bool quantise, const JobContext & job) {
    FirstStageRunner & stage = stages_->require_first_stage();
    stages_->check_latents(latents, "decode");
    ImageTensor picture;
    planner_->advise([&] { return planner_->decoding(latents.shape[2], latents.shape[3], latents.shape[0]); },
                     [&] { picture = stage.decode(latents, quantise, job); });
    return picture;
}

Codes Pipeline::encode_codes(const ImageTensor & image, const JobContext & job) {
    FirstStageRunner & stage = stages_->require_first_stage();
    stage.require_codes("encodeCodes");
    Latents raw;
    planner_->advise([&] { return planner_->encoding(image.shape[2], image.shape[3], image.shape[0]); },
                     [&] { raw = stage.encode_raw(image, job); });
    return stage.codes_of(raw, job);
}

ImageTensor Pipeline::decode_codes(const Codes & codes, const JobContext & job) {
    FirstStageRunner & stage = stages_->require_first_stage();
    const Latents z = stage.lookup(codes, job);
    ImageTensor picture;
    planner_->advise([&] { return planner_->decoding(z.shape[2], z.shape[3], z.shape[0]); },
                     [&] { picture = stage.decode_unscaled(z, false, job); });
    return picture;
}

ImageTensor Pipeline::decode_preview(const Latents & latents, const JobContext & job) {
    stages_->check_latents(latents, "preview");
    return stages_->require_tiny_stage().decode(latents, true, job);
}

Picture Pipeline::preview(const Latents & latents, int index) const {
    return linear_preview(latents, index, spec());
}

// ---- state -----------------------------------------------------------------------------------------------------------

const ModelSpec & Pipeline::spec() const {
    return stages_->spec();
}

Json Pipeline::info() const {
    return describe(*stages_);
}

std::string Pipeline::tokenizer() const {
    return stages_->opened->tokenizer;
}

Json Pipeline::estimate(const EstimateRequest & request) {
    const Adapters::Call adapters(*adapters_, request.adapters, JobContext{});
    return planner_->estimate(request);
}

Json Pipeline::set_adapters(const AdapterUses & adapters, const JobContext & job) {
    return adapters_->set(adapters, job);
}

Json Pipeline::memory_usage() const {
    Json usage = stages_->residency.usage();
    usage["processPeak"] = peak_resident_memory();
    return usage;
}

Json Pipeline::profile(bool on) {
    graph::Device & device = *stages_->device();
    if (on) device.start_profile();
    Json rows = Json::array();
    for (const graph::OpTime & op : on ? std::vector<graph::OpTime>{} : device.stop_profile()) {
        rows.push_back({{"operation", op.label},
                        {"calls", op.calls},
                        {"ms", op.milliseconds},
                        {"fastestMs", op.fastest},
                        {"gflop", op.flops * 1e-9},
                        {"gigabytes", op.bytes * 1e-9}});
    }
    return rows;
}

void Pipeline::unload() {
    adapters_->drop();
    stages_->residency.unload();
}

}  // namespace latent::pipeline
