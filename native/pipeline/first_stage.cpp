// The first stage: pictures to latents and codes, and back, whole, in bands or in tiles.
#include <algorithm>
#include <cmath>

#include "pipeline/checks.h"
#include "pipeline/image/tiling.h"
#include "pipeline/image/upscaling.h"
#include "pipeline/latent_pipeline.h"

namespace latent::pipeline {
namespace {

void require_vq(const AutoencoderConfig & config, const char * what) {
    if (config.kind == "vq") return;
    throw Error(ErrorCode::unsupported_model,
                std::string(what) + ": this first stage is continuous (KL) and has no codes; VQ has");
}

}  // namespace

/// `beside`: bytes of the pictures and what else is resident with them, weights excluded.
StagePlanRequest LatentPipeline::stage_request(int64_t height, int64_t width, uint64_t beside) const {
    StagePlanRequest request{height, width};
    request.tiling = request_.vae_tiling;
    request.tile = request_.vae_tile_size;
    request.largest = one_part_at_a_time_ ? kLowMemoryTile : 0;
    request.bearable = keeps_all() ? UINT64_MAX : one_part_at_a_time_ ? kWholeStage / 4 : kWholeStage;
    request.held = weights_beside(*first_stage_) + beside + *kept_, request.bound = request_.max_bytes;
    request.budget = working_budget(request_.max_bytes, request.held, available_to(*first_stage_));
    return request;
}

/// `run`: bytes of a run that is still to begin and will be alive meanwhile (previews).
StagePlan LatentPipeline::plan_decode(int64_t height, int64_t width, int64_t count, uint64_t run) const {
    const int64_t factor = opened_.spec.downsampling();
    // Floats of the decoder, bytes made of them, JavaScript's copy and the encoder of the file.
    const uint64_t pictures = (12 + 3 * 4) * static_cast<uint64_t>(height * factor * width * factor * count);
    StagePlanRequest request = stage_request(height, width, pictures + run);
    const bool upscales = conditioners_ && conditioners_->upscales();
    if (upscales) {  // decoded in the tiles that it was made in
        if (request.tile == 0) request.tile = request_.tile_size;
        if (request.largest == 0) request.largest = kUpscalingTile;
    }
    std::function<uint64_t()> bands;
    if (device_->is_cpu() && !upscales) bands = [&] { return first_stage_->measure_decode_banded(height, width); };
    StagePlan plan = plan_stage(
        request, "Decoding the picture", [&](int64_t h, int64_t w) { return first_stage_->measure_decode(1, h, w).bytes; },
        bands);
    plan.held = request.held;
    return plan;
}

StagePlan LatentPipeline::plan_encode(int64_t height, int64_t width, int64_t count) const {
    const int64_t factor = opened_.spec.downsampling();
    const uint64_t pictures = 2 * 12 * static_cast<uint64_t>(height * factor * width * factor * count);
    const StagePlanRequest request = stage_request(height, width, pictures);
    std::function<uint64_t()> bands;
    if (device_->is_cpu()) bands = [&] { return first_stage_->measure_encode_banded(height * factor, width * factor); };
    StagePlan plan = plan_stage(
        request, "Encoding the picture",
        [&](int64_t h, int64_t w) { return first_stage_->measure_encode(1, h * factor, w * factor).bytes; }, bands);
    plan.held = request.held;
    return plan;
}

/// What the encoder gives: moments [n, 2 * embed_dim, h, w] (KL), or the code before quantisation [n, embed_dim, h, w] (VQ).
Latents LatentPipeline::encode_raw(const ImageTensor & image, const JobContext & job) {
    use(part("vae"), job);
    const auto [n, c, h, w] = image.shape;
    const int factor = opened_.spec.downsampling();
    const AutoencoderConfig & config = first_stage_->config();
    if (n < 1 || c != config.in_channels || h < 1 || w < 1 || h % factor != 0 || w % factor != 0) {
        refuse("encode: an image of " + std::to_string(c) + " channels and " + size_text(w, h) +
               " pixels; this first stage takes " + std::to_string(config.in_channels) +
               " channels and sides that are multiples of " + std::to_string(factor));
    }
    const StagePlan plan = plan_encode(h / factor, w / factor, n);
    const int64_t channels = (config.double_z ? 2 : 1) * int64_t{config.embed_dim};
    const auto run = [&](const ImageTensor & tile) {
        ImageTensor out{{1, channels, tile.shape[2] / factor, tile.shape[3] / factor}, {}};
        out.data.resize(elements(out.shape));
        run_finite(*first_stage_, [&]() -> Span<const float> {
            if (plan.bands) {
                first_stage_->encode_banded(tile.data, tile.shape[2], tile.shape[3], out.data, job);
            } else {
                first_stage_->encode(tile.data, 1, tile.shape[2], tile.shape[3], out.data, job);
            }
            return out.data;
        });
        return out;
    };
    const int tile = plan.tile ? plan.tile : static_cast<int>(std::max(h, w) / factor);
    const TileGrid grid{tile * factor, plan.tile ? tile / 4 * factor : 0, TileBlend::ramp};
    ImageTensor result = run_tiled(image, grid, 1, factor, Phase::encode, job, run);
    update_usage();
    return {result.shape, std::move(result.data)};
}

/// The same as a call of its own: a refusal tells what would fit.
Latents LatentPipeline::encode_alone(const ImageTensor & image, const JobContext & job) {
    Latents raw;
    with_nearest([&] { return wish_of_encode(image.shape[2], image.shape[3], image.shape[0]); },
                 [&] { raw = encode_raw(image, job); });
    return raw;
}

/// The code of what encode_raw() gave, times `scale`: a posterior sample with `noise`, otherwise its mean; VQ has no spread.
/// One raw row serves for all `rows`.
Latents LatentPipeline::code_of(const Latents & raw, int64_t rows, NoiseSource * noise, double scale) const {
    const auto [n, c, h, w] = raw.shape;
    const bool spread = first_stage_->config().double_z;
    const int64_t channels = spread ? c / 2 : c;
    const size_t size = static_cast<size_t>(channels * h * w), stride = static_cast<size_t>(c * h * w);
    Latents out{{rows, channels, h, w}, std::vector<float>(static_cast<size_t>(rows) * size)};
    const bool draw = noise && spread;
    if (draw) noise->normal(out.data);
    const float factor = static_cast<float>(scale);
    for (int64_t row = 0; row < rows; ++row) {
        const float * mean = raw.data.data() + (n == 1 ? 0 : static_cast<size_t>(row) * stride);
        const float * logvar = mean + size;
        float * z = out.data.data() + static_cast<size_t>(row) * size;
        for (size_t i = 0; i < size; ++i) z[i] = (draw ? mean[i] + std::exp(0.5f * logvar[i]) * z[i] : mean[i]) * factor;
    }
    return out;
}

Latents LatentPipeline::encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                                     const JobContext & job) {
    part("vae");
    const bool vq = first_stage_->config().kind == "vq";
    if (mode != "sample" && mode != "mean" && mode != "moments" && mode != "prequant") {
        throw Error(ErrorCode::invalid_argument,
                    "encodeImage: mode \"" + mode + "\"; expected sample, mean, moments or prequant");
    }
    if (mode == "moments" && vq) {
        throw Error(ErrorCode::invalid_argument, "encodeImage: a VQ first stage has no moments; prequant is its raw code");
    }
    if (mode == "prequant") require_vq(first_stage_->config(), "encodeImage: prequant");
    SeededNoise noise(parse_rng_kind(rng), seed, static_cast<size_t>(std::max<int64_t>(image.shape[0], 1)));
    Latents raw = encode_alone(image, job);
    if (mode == "moments" || mode == "prequant") return raw;
    return code_of(raw, raw.shape[0], mode == "sample" ? &noise : nullptr, opened_.spec.scale_factor);
}

Codes LatentPipeline::encode_codes(const ImageTensor & image, const JobContext & job) {
    part("vae");
    require_vq(first_stage_->config(), "encodeCodes");
    const Latents raw = encode_alone(image, job);
    const auto [n, c, h, w] = raw.shape;
    Codes codes{{n, h, w}, std::vector<int32_t>(static_cast<size_t>(n * h * w))};
    first_stage_->quantise(raw.data, n, h, w, codes.data, {}, job);
    return codes;
}

ImageTensor LatentPipeline::decode_codes(const Codes & codes, const JobContext & job) {
    models::Network & network = part("vae");
    const AutoencoderConfig & config = first_stage_->config();
    require_vq(config, "decodeCodes");
    const auto [n, h, w] = codes.shape;
    if (n < 1 || h < 1 || w < 1 || codes.data.size() != static_cast<size_t>(n * h * w)) {
        throw Error(ErrorCode::invalid_argument, "decodeCodes: another number of codes than the shape says");
    }
    for (const int32_t code : codes.data) {
        if (code >= 0 && code < config.codebook_size) continue;
        throw Error(ErrorCode::invalid_argument,
                    "decodeCodes: code " + std::to_string(code) + " is outside 0.." + std::to_string(config.codebook_size - 1));
    }
    use(network, job);
    Latents z{{n, config.embed_dim, h, w}, {}};
    require_memory(static_cast<uint64_t>(codes.data.size()) * static_cast<uint64_t>(config.embed_dim) * sizeof(float),
                   "decodeCodes: vectors of this many codes");
    z.data.resize(elements(z.shape));
    first_stage_->lookup(codes.data, n, h, w, z.data);
    ImageTensor picture;
    with_nearest([&, h = h, w = w, n = n] { return wish_of_decode(h, w, n); }, [&] { picture = decode_scaled(z, false, job); });
    return picture;
}

ImageTensor LatentPipeline::decode(const Latents & latents, bool quantise, const JobContext & job) {
    part("vae");
    check_latents(latents, "decode");
    ImageTensor picture;
    with_nearest([&] { return wish_of_decode(latents.shape[2], latents.shape[3], latents.shape[0]); },
                 [&] { picture = decode_latents(latents, quantise, job); });
    return picture;
}

/// Sound latents, times the scale factor.
ImageTensor LatentPipeline::decode_latents(const Latents & latents, bool quantise, const JobContext & job) {
    Latents z = latents;
    const float scale = static_cast<float>(1.0 / opened_.spec.scale_factor);
    for (float & value : z.data) value *= scale;
    return decode_scaled(z, quantise, job);
}

/// Latents that the scale factor has been taken from.
ImageTensor LatentPipeline::decode_scaled(const Latents & z, bool quantise, const JobContext & job) {
    use(part("vae"), job);
    const auto [n, c, h, w] = z.shape;
    const int factor = opened_.spec.downsampling();
    const AutoencoderConfig & config = first_stage_->config();
    const uint64_t area = static_cast<uint64_t>(n * h * factor) * static_cast<uint64_t>(w * factor);
    require_memory(area * static_cast<uint64_t>(config.out_channels) * sizeof(float), "decode: a picture of this size");

    const StagePlan plan = plan_decode(h, w, n);
    const auto run = [&](const ImageTensor & tile) {
        ImageTensor pixels{{1, config.out_channels, tile.shape[2] * factor, tile.shape[3] * factor}, {}};
        pixels.data.resize(elements(pixels.shape));
        run_finite(*first_stage_, [&]() -> Span<const float> {
            if (plan.bands) {
                first_stage_->decode_banded(tile.data, tile.shape[2], tile.shape[3], pixels.data, job, quantise);
            } else {
                first_stage_->decode(tile.data, 1, tile.shape[2], tile.shape[3], pixels.data, job, quantise);
            }
            return pixels.data;
        });
        return pixels;
    };
    const ImageTensor input{z.shape, z.data};
    ImageTensor out;
    if (plan.tile != 0) {
        const bool upscales = conditioners_ && conditioners_->upscales();
        const TileGrid grid = upscales ? TileGrid::for_upscaling(plan.tile) : TileGrid::for_tile(plan.tile);
        out = run_tiled(input, grid, factor, 1, Phase::decode, job, run);
    } else {
        out.shape = {n, config.out_channels, h * factor, w * factor};
        for (int64_t row = 0; row < n; ++row) {
            job.check();
            const ImageTensor picture = run(row_or_only(input, row));
            out.data.insert(out.data.end(), picture.data.begin(), picture.data.end());
            job.report(Phase::decode, row + 1, n);
        }
    }
    update_usage();
    return out;
}

}  // namespace latent::pipeline
