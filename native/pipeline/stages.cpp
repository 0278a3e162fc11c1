// The stages of LatentPipeline: prompt to conditioning, pictures to latents and back, one network evaluation.
#include <algorithm>
#include <cmath>

#include "pipeline/conditioning.h"
#include "pipeline/latent_pipeline.h"
#include "pipeline/tiling.h"

namespace latent::pipeline {
namespace {

size_t elements(const std::array<int64_t, 4> & shape) {
    return static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
}

}  // namespace

// ---- prompt ----------------------------------------------------------------------------------------------------------

std::vector<float> LatentPipeline::encode_window(const TokenChunk & chunk, int clip_skip, const JobContext & job) {
    const int64_t length = static_cast<int64_t>(chunk.ids.size());
    std::vector<float> context(static_cast<size_t>(length * text_->config().hidden_size));
    text_->forward(chunk.ids, 1, length, clip_skip, context, job);
    return context;
}

Conditioning LatentPipeline::encode_prompt(const PromptTokens & tokens, const JobContext & job) {
    use(part("textEncoder"), job);
    const ClipTextConfig & config = text_->config();
    const size_t window = static_cast<size_t>(config.max_position_embeddings);
    Conditioning out;
    out.dim = config.hidden_size;
    std::vector<float> empty;  // the "comfy" emphasis measures from the empty prompt
    int64_t done = 0;
    for (const TokenChunk & chunk : tokens.chunks) {
        job.check();
        if (chunk.ids.empty() || chunk.ids.size() > window ||
            (!chunk.weights.empty() && chunk.weights.size() != chunk.ids.size())) {
            throw Error(ErrorCode::invalid_argument,
                        "prompt: a window holds 1 to " + std::to_string(window) + " tokens and one weight for each");
        }
        std::vector<float> z = encode_window(chunk, tokens.clip_skip, job);
        if (has_emphasis(chunk)) {
            if (tokens.emphasis == "comfy" && empty.size() != z.size()) {
                TokenChunk blank;
                blank.ids.assign(chunk.ids.size(), config.pad_token_id);
                blank.ids.front() = config.bos_token_id;
                if (blank.ids.size() > 1) blank.ids[1] = config.eos_token_id;
                empty = encode_window(blank, tokens.clip_skip, job);
            }
            apply_emphasis(z, chunk.weights, out.dim, tokens.emphasis, empty);
        }
        out.tokens += static_cast<int64_t>(chunk.ids.size());
        out.data.insert(out.data.end(), z.begin(), z.end());
        job.report(Phase::encode, ++done, static_cast<int64_t>(tokens.chunks.size()));
    }
    if (out.tokens == 0) throw Error(ErrorCode::invalid_argument, "prompt: no tokens; the empty prompt is one window of padding");
    update_usage();
    return out;
}

// ---- network ---------------------------------------------------------------------------------------------------------

void LatentPipeline::evaluate_row(const Latents & x, int64_t row, double timestep, const Guidance & guidance,
                                  const Latents * concat, Span<float> output, const JobContext & job) {
    const auto [n, c, h, w] = x.shape;
    const size_t plane = static_cast<size_t>(h * w);
    const size_t own = static_cast<size_t>(c) * plane, extra = concat ? static_cast<size_t>(concat->shape[1]) * plane : 0;

    models::UNetInput input;
    std::vector<float> rows(own + extra);
    std::copy_n(x.data.data() + static_cast<size_t>(row) * own, own, rows.data());
    if (concat)
        std::copy_n(concat->data.data() + (concat->shape[0] == n ? static_cast<size_t>(row) * extra : 0), extra,
                    rows.data() + own);

    const Conditioning * cond = guidance.conditioning;
    input.shape = {1, h, w, cond ? cond->tokens : 0};
    input.timesteps = {&timestep, 1};
    if (!guidance.guided()) {
        input.x = rows;
        if (cond) input.context = cond->data;
        unet_->forward(input, output, job);
        return;
    }

    const Conditioning * uncond = guidance.unconditional;
    std::vector<float> both(2 * output.size());
    const Span<float> from_uncond(both.data(), output.size()), from_cond(both.data() + output.size(), output.size());
    if (guidance.as_batch && uncond->tokens == cond->tokens) {  // one batch-2 graph, [unconditional, conditional]
        std::vector<float> context(uncond->data);
        context.insert(context.end(), cond->data.begin(), cond->data.end());
        rows.insert(rows.end(), rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(own + extra));
        input.shape.batch = 2;
        input.x = rows;
        input.context = context;
        unet_->forward(input, both, job);
    } else {
        input.x = rows;
        input.shape.tokens = uncond->tokens;
        input.context = uncond->data;
        unet_->forward(input, from_uncond, job);
        input.shape.tokens = cond->tokens;
        input.context = cond->data;
        unet_->forward(input, from_cond, job);
    }
    samplers::apply_guidance(from_uncond, from_cond, guidance.scale, guidance.rescale, 0, output);
}

void LatentPipeline::evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, const Latents * concat,
                              Latents & output, const JobContext & job) {
    const int64_t n = x.shape[0];
    const size_t row_size = output.data.size() / static_cast<size_t>(n);
    // One picture at a time, its guidance pair as one batch: the working set does not grow with the number of pictures.
    for (int64_t row = 0; row < n; ++row) {
        const double timestep = timesteps[timesteps.size() == 1 ? 0 : static_cast<size_t>(row)];
        evaluate_row(x, row, timestep, guidance, concat, {output.data.data() + static_cast<size_t>(row) * row_size, row_size},
                     job);
    }
}

Latents LatentPipeline::predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                                const Conditioning * unconditional, double guidance_scale, const Latents * concat,
                                const JobContext & job) {
    use(part("unet"), job);
    const auto [n, c, h, w] = latents.shape;
    const UNetConfig & config = unet_->config();
    const int64_t channels = c + (concat ? concat->shape[1] : 0);
    const auto refuse = [](const std::string & what) { throw Error(ErrorCode::invalid_argument, "predict: " + what); };
    if (channels != config.in_channels || n < 1) {
        refuse("latents and concat have " + std::to_string(channels) + " channels, this network takes " +
               std::to_string(config.in_channels));
    }
    if (concat && (concat->shape[2] != h || concat->shape[3] != w || (concat->shape[0] != n && concat->shape[0] != 1))) {
        refuse("concat has another size than the latents");
    }
    if (timesteps.size() != 1 && timesteps.size() != static_cast<size_t>(n)) {
        refuse(std::to_string(timesteps.size()) + " timesteps for " + std::to_string(n) + " rows; give one, or one per row");
    }
    if ((config.context_dim > 0 && config.attention == UNetAttention::spatial_transformer) != (conditioning != nullptr)) {
        refuse(conditioning ? "this network takes no conditioning" : "conditioning is missing");
    }
    for (const Conditioning * each : {conditioning, unconditional}) {
        if (each && each->dim != config.context_dim) {
            refuse("the conditioning is " + std::to_string(each->dim) + " wide, this network takes " +
                   std::to_string(config.context_dim));
        }
    }
    Latents output{{n, config.out_channels, h, w}, {}};
    output.data.resize(elements(output.shape));
    const int64_t input_tokens = conditioning ? conditioning->tokens : 0;
    const bool as_batch = plan_guidance(latents.shape, input_tokens, unconditional && guidance_scale != 1.0);
    evaluate(latents, timesteps, {conditioning, unconditional, guidance_scale, 0.0, as_batch}, concat, output, job);
    update_usage();
    return output;
}

// ---- first stage -----------------------------------------------------------------------------------------------------

/// Where memory is bounded, the graphs of the stage before make room for this one's.
void LatentPipeline::free_graphs_of_others(const models::Network & network) {
    if (request_.max_bytes == 0 && !one_part_at_a_time_) return;
    for (models::Network * other : networks()) {
        if (other != &network) other->runner().clear();
    }
}

StagePlanRequest LatentPipeline::stage_request(int64_t height, int64_t width) const {
    StagePlanRequest request{height, width};
    request.tiling = request_.vae_tiling;
    request.tile = request_.vae_tile_size;
    request.low_memory = one_part_at_a_time_;
    uint64_t held = 0, idle = first_stage_->runner().bytes();  // a graph that the next one replaces
    for (const models::Network * network : networks()) {
        if (!one_part_at_a_time_ || network == first_stage_.get()) held += network->weights().bytes();
    }
    const uint64_t available = device_->available();
    request.budget = working_budget(request_.max_bytes, held, available == UINT64_MAX ? available : available + idle);
    return request;
}

StagePlan LatentPipeline::plan_decode(int64_t height, int64_t width) const {
    return plan_stage(stage_request(height, width), "decoding the picture",
                      [&](int64_t h, int64_t w) { return first_stage_->measure_decode(1, h, w).bytes; });
}

Latents LatentPipeline::moments(const ImageTensor & image, const JobContext & job) {
    use(part("vae"), job);
    free_graphs_of_others(*first_stage_);
    const auto [n, c, h, w] = image.shape;
    const int factor = opened_.spec.downsampling();
    const AutoencoderConfig & config = first_stage_->config();
    if (n < 1 || c != config.in_channels || h < 1 || w < 1 || h % factor != 0 || w % factor != 0) {
        throw Error(ErrorCode::invalid_argument, "encode: an image of " + std::to_string(c) + " channels and " +
                                                     std::to_string(w) + "x" + std::to_string(h) +
                                                     " pixels; this first stage takes " + std::to_string(config.in_channels) +
                                                     " channels and sides that are multiples of " + std::to_string(factor));
    }
    const StagePlan plan = plan_stage(
        stage_request(h / factor, w / factor), "encoding the image",
        [&](int64_t height, int64_t width) { return first_stage_->measure_encode(1, height * factor, width * factor).bytes; });
    const auto run = [&](const ImageTensor & tile) {
        ImageTensor out{{1, 2 * config.embed_dim, tile.shape[2] / factor, tile.shape[3] / factor}, {}};
        out.data.resize(elements(out.shape));
        first_stage_->encode(tile.data, 1, tile.shape[2], tile.shape[3], out.data, job);
        return out;
    };
    const int tile = plan.tile ? plan.tile : static_cast<int>(std::max(h, w) / factor);
    ImageTensor result = run_tiled(image, {tile * factor, plan.tile ? tile / 4 * factor : 0}, 1, factor, Phase::encode, job, run);
    update_usage();
    return {result.shape, std::move(result.data)};
}

Latents LatentPipeline::from_moments(const Latents & moments, int64_t rows, NoiseSource * noise) const {
    const auto [n, c2, h, w] = moments.shape;
    const size_t half = static_cast<size_t>(c2 / 2 * h * w);
    Latents out{{rows, c2 / 2, h, w}, std::vector<float>(static_cast<size_t>(rows) * half)};
    if (noise) noise->normal(out.data);
    const float scale = static_cast<float>(opened_.spec.scale_factor);
    for (int64_t row = 0; row < rows; ++row) {
        const float * mean = moments.data.data() + static_cast<size_t>(n == 1 ? 0 : row) * 2 * half;
        const float * logvar = mean + half;
        float * z = out.data.data() + static_cast<size_t>(row) * half;
        for (size_t i = 0; i < half; ++i) z[i] = (noise ? mean[i] + std::exp(0.5f * logvar[i]) * z[i] : mean[i]) * scale;
    }
    return out;
}

Latents LatentPipeline::encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                                     const JobContext & job) {
    Latents raw = moments(image, job);
    if (mode == "moments") return raw;
    if (mode == "mean") return from_moments(raw, raw.shape[0], nullptr);
    if (mode != "sample")
        throw Error(ErrorCode::invalid_argument, "encodeImage: mode \"" + mode + "\"; expected sample, mean or moments");
    SeededNoise noise(parse_rng_kind(rng), seed, static_cast<size_t>(raw.shape[0]));
    return from_moments(raw, raw.shape[0], &noise);
}

ImageTensor LatentPipeline::decode(const Latents & latents, const JobContext & job) {
    check_latents(latents, "decode");
    use(part("vae"), job);
    free_graphs_of_others(*first_stage_);
    const auto [n, c, h, w] = latents.shape;
    const int factor = opened_.spec.downsampling();
    const AutoencoderConfig & config = first_stage_->config();

    const uint64_t area = static_cast<uint64_t>(n * h * factor) * static_cast<uint64_t>(w * factor);
    require_memory(area * static_cast<uint64_t>(config.out_channels) * sizeof(float), "decode: a picture of this size");
    ImageTensor z{latents.shape, latents.data};
    const float scale = static_cast<float>(1.0 / opened_.spec.scale_factor);
    for (float & value : z.data) value *= scale;

    const StagePlan plan = plan_decode(h, w);
    ImageTensor out;
    if (plan.tile != 0) {
        out = run_tiled(z, TileGrid::for_tile(plan.tile), factor, 1, Phase::decode, job, [&](const ImageTensor & tile) {
            ImageTensor pixels{{1, config.out_channels, tile.shape[2] * factor, tile.shape[3] * factor}, {}};
            pixels.data.resize(elements(pixels.shape));
            first_stage_->decode(tile.data, 1, tile.shape[2], tile.shape[3], pixels.data, job);
            return pixels;
        });
    } else {
        out.shape = {n, config.out_channels, h * factor, w * factor};
        out.data.resize(elements(out.shape));
        const size_t in_row = z.data.size() / static_cast<size_t>(n), out_row = out.data.size() / static_cast<size_t>(n);
        for (int64_t row = 0; row < n; ++row) {
            job.check();
            const size_t r = static_cast<size_t>(row);
            first_stage_->decode({z.data.data() + r * in_row, in_row}, 1, h, w, {out.data.data() + r * out_row, out_row}, job);
            job.report(Phase::decode, row + 1, n);
        }
    }
    update_usage();
    return out;
}

}  // namespace latent::pipeline
