#include "pipeline/first_stage_runner.h"

#include <algorithm>
#include <cmath>

#include "pipeline/image/framing.h"
#include "pipeline/image/tiling.h"
#include "pipeline/image/upscaling.h"
#include "pipeline/messages.h"

namespace latent::pipeline {

FirstStageRunner::FirstStageRunner(std::unique_ptr<models::FirstStage> network, PartResidency & residency, Options options)
    : network_(std::move(network)), residency_(residency), options_(options), form_(network_->form()) {}

void FirstStageRunner::require_codes(const char * what) const {
    if (form_.codebook_size > 0) return;
    throw Error(ErrorCode::unsupported_model,
                std::string(what) + ": this first stage is continuous (KL) and has no codes; only VQ stages have codes");
}

void FirstStageRunner::require_encoder(const char * what) const {
    if (form_.encodes) return;
    throw Error(ErrorCode::unsupported_model,
                std::string(what) +
                    ": this first stage is only the decoder of a tiny autoencoder (TAESD); put the file of its "
                    "encoder, whose name has \"encoder\" in place of \"decoder\", into the same folder");
}

// ---- plans -----------------------------------------------------------------------------------------------------------

/// `beside`: bytes of the images and everything else that is resident, without weights.
StagePlanRequest FirstStageRunner::stage_request(int64_t height, int64_t width, uint64_t beside,
                                                 PartResidency::WeightUse use) const {
    StagePlanRequest request{height, width};
    request.tiling = options_.tiling;
    request.tile = options_.tile;
    request.largest = residency_.one_part_at_a_time() ? kLowMemoryTile : 0;
    request.bearable = residency_.keeps_all() ? UINT64_MAX : residency_.one_part_at_a_time() ? kWholeStage / 4 : kWholeStage;
    request.exact_tiles = form_.halo > 0;
    request.held = residency_.bytes_with(*network_, use) + beside + residency_.claimed(), request.bound = residency_.bound();
    request.budget = working_budget(residency_.bound(), request.held, residency_.available_to(*network_));
    return request;
}

/// With all weights in memory, or if that does not fit, with streamed ones.
StagePlan FirstStageRunner::plan_within(const std::function<StagePlan(PartResidency::WeightUse use)> & plan) const {
    using WeightUse = PartResidency::WeightUse;
    if (!residency_.can_stream(*network_)) return plan(WeightUse::whole);
    try {
        return plan(WeightUse::whole);
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory) throw;
    }
    StagePlan streamed = plan(WeightUse::streamed);
    streamed.weights = residency_.room_for(*network_, streamed.held + streamed.bytes);
    return streamed;
}

/// Plans again without the weights of other parts if nothing fits beside them.
StagePlan FirstStageRunner::plan_to_run(const std::function<StagePlan()> & plan) {
    try {
        return plan();
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || !residency_.on_shortage(*network_)) throw;
    }
    return plan();
}

/// `run`: bytes of a run that will start later and exist at the same time (previews).
StagePlan FirstStageRunner::plan_decode(int64_t height, int64_t width, int64_t count, uint64_t run) const {
    return plan_within([&](PartResidency::WeightUse use) { return plan_decode_with(height, width, count, run, use); });
}

StagePlan FirstStageRunner::plan_decode_with(int64_t height, int64_t width, int64_t count, uint64_t run,
                                             PartResidency::WeightUse use) const {
    const int64_t factor = form_.downsampling;
    // The decoder's floats, the bytes made from them, JavaScript's copy and the file encoder's buffer.
    const uint64_t pictures = (12 + 3 * 4) * static_cast<uint64_t>(height * factor * width * factor * count);
    StagePlanRequest request = stage_request(height, width, pictures + run, use);
    if (options_.upscaling) {  // decoded in the tiles of denoising
        if (request.tile == 0) request.tile = options_.upscaling_tile;
        if (request.largest == 0) request.largest = kUpscalingTile;
    }
    std::function<uint64_t()> bands;
    if (form_.bands && !options_.upscaling) bands = [&] { return network_->measure_decode_banded(height, width); };
    const auto whole_tile = [&](int64_t tile, int64_t side) { return std::min(tile + 2 * form_.halo, side); };
    StagePlan plan = plan_stage(
        request, "Decoding the image",
        [&](int64_t h, int64_t w) { return network_->measure_decode(1, whole_tile(h, height), whole_tile(w, width)).bytes; },
        bands);
    plan.held = request.held;
    return plan;
}

StagePlan FirstStageRunner::plan_encode(int64_t height, int64_t width, int64_t count) const {
    return plan_within([&](PartResidency::WeightUse use) { return plan_encode_with(height, width, count, use); });
}

StagePlan FirstStageRunner::plan_encode_with(int64_t height, int64_t width, int64_t count, PartResidency::WeightUse use) const {
    require_encoder("encode");
    const int64_t factor = form_.downsampling;
    const uint64_t pictures = 2 * 12 * static_cast<uint64_t>(height * factor * width * factor * count);
    const StagePlanRequest request = stage_request(height, width, pictures, use);
    std::function<uint64_t()> bands;
    if (form_.bands) bands = [&] { return network_->measure_encode_banded(height * factor, width * factor); };
    const auto whole_tile = [&](int64_t tile, int64_t side) { return std::min(tile + 2 * form_.halo, side); };
    StagePlan plan = plan_stage(
        request, "Encoding the image",
        [&](int64_t h, int64_t w) {
            return network_->measure_encode(1, whole_tile(h, height) * factor, whole_tile(w, width) * factor).bytes;
        },
        bands);
    plan.held = request.held;
    return plan;
}

// ---- images to latents -----------------------------------------------------------------------------------------------

Latents FirstStageRunner::encode_raw(const ImageTensor & image, const JobContext & job) {
    require_encoder("encode");
    residency_.prepare(*network_, job);
    const auto [n, c, h, w] = image.shape;
    const int factor = form_.downsampling;
    if (n < 1 || c != form_.in_channels || h < 1 || w < 1 || h % factor != 0 || w % factor != 0) {
        refuse("encode: an image of " + std::to_string(c) + " channels and " + size_text(w, h) +
               " pixels; this first stage takes " + std::to_string(form_.in_channels) +
               " channels and sides that are multiples of " + std::to_string(factor));
    }
    const StagePlan plan = plan_to_run([&] { return plan_encode(h / factor, w / factor, n); });
    residency_.keep_within(*network_, plan.weights);
    const auto run = [&](const ImageTensor & tile) {
        ImageTensor out{{1, form_.encoded_channels(), tile.shape[2] / factor, tile.shape[3] / factor}, {}};
        out.data.resize(elements(out.shape));
        residency_.run_finite(*network_, [&]() -> Span<const float> {
            if (plan.bands) {
                network_->encode_banded(tile.data, tile.shape[2], tile.shape[3], out.data, job);
            } else {
                network_->encode(tile.data, 1, tile.shape[2], tile.shape[3], out.data, job);
            }
            return out.data;
        });
        return out;
    };
    const int tile = plan.tile ? plan.tile : static_cast<int>(std::max(h, w) / factor);
    const TileGrid grid{tile * factor, plan.tile ? tile / 4 * factor : 0, TileBlend::ramp};
    ImageTensor result = plan.tile && form_.halo
                             ? run_exact_tiles(image, tile * factor, form_.halo * factor, 1, factor, Phase::encode, job, run)
                             : run_tiled(image, grid, 1, factor, Phase::encode, job, run);
    residency_.refresh_usage();
    return {result.shape, std::move(result.data)};
}

Latents FirstStageRunner::latents_of(const Latents & raw, int64_t rows, NoiseSource * noise) const {
    Latents out = codes_of_moments(raw, rows, noise);
    options_.scaling.to_latents(out);
    return out;
}

Latents FirstStageRunner::codes_of_moments(const Latents & raw, int64_t rows, NoiseSource * noise) const {
    const auto [n, c, h, w] = raw.shape;
    const int64_t channels = form_.spread ? c / 2 : c;
    const size_t size = static_cast<size_t>(channels * h * w), stride = static_cast<size_t>(c * h * w);
    Latents out{{rows, channels, h, w}, std::vector<float>(static_cast<size_t>(rows) * size)};
    const bool draw = noise && form_.spread;
    if (draw) noise->normal(out.data);
    for (int64_t row = 0; row < rows; ++row) {
        const float * mean = raw.data.data() + (n == 1 ? 0 : static_cast<size_t>(row) * stride);
        const float * logvar = mean + size;
        float * z = out.data.data() + static_cast<size_t>(row) * size;
        for (size_t i = 0; i < size; ++i) z[i] = draw ? mean[i] + std::exp(0.5f * logvar[i]) * z[i] : mean[i];
    }
    return out;
}

Latents FirstStageRunner::encode_mean(const ImageTensor & image, const JobContext & job) {
    const Latents raw = encode_raw(image, job);
    return codes_of_moments(raw, raw.shape[0], nullptr);
}

// ---- latents to images -----------------------------------------------------------------------------------------------

ImageTensor FirstStageRunner::decode(const Latents & latents, bool quantise, const JobContext & job) {
    Latents z = latents;
    options_.scaling.to_codes(z);
    return decode_unscaled(z, quantise, job);
}

ImageTensor FirstStageRunner::decode_unscaled(const Latents & z, bool quantise, const JobContext & job) {
    residency_.prepare(*network_, job);
    const auto [n, c, h, w] = z.shape;
    const int factor = form_.downsampling;
    const uint64_t area = static_cast<uint64_t>(n * h * factor) * static_cast<uint64_t>(w * factor);
    require_memory(area * static_cast<uint64_t>(form_.out_channels) * sizeof(float), "decode: an image of this size");

    const StagePlan plan = plan_to_run([&] { return plan_decode(h, w, n, residency_.host_graph_bytes(*network_)); });
    residency_.keep_within(*network_, plan.weights);
    const auto run = [&](const ImageTensor & tile) {
        ImageTensor pixels{{1, form_.out_channels, tile.shape[2] * factor, tile.shape[3] * factor}, {}};
        pixels.data.resize(elements(pixels.shape));
        residency_.run_finite(*network_, [&]() -> Span<const float> {
            if (plan.bands) {
                network_->decode_banded(tile.data, tile.shape[2], tile.shape[3], pixels.data, job, quantise);
            } else {
                network_->decode(tile.data, 1, tile.shape[2], tile.shape[3], pixels.data, job, quantise);
            }
            return pixels.data;
        });
        return pixels;
    };
    const ImageTensor input{z.shape, z.data};
    ImageTensor out;
    if (plan.tile != 0 && form_.halo > 0) {
        out = run_exact_tiles(input, plan.tile, form_.halo, factor, 1, Phase::decode, job, run);
    } else if (plan.tile != 0) {
        const TileGrid grid = options_.upscaling ? TileGrid::for_upscaling(plan.tile) : TileGrid::for_tile(plan.tile);
        out = run_tiled(input, grid, factor, 1, Phase::decode, job, run);
    } else {
        out.shape = {n, form_.out_channels, h * factor, w * factor};
        for (int64_t row = 0; row < n; ++row) {
            job.check();
            const ImageTensor picture = run(row_or_only(input, row));
            out.data.insert(out.data.end(), picture.data.begin(), picture.data.end());
            job.report(Phase::decode, row + 1, n);
        }
    }
    residency_.refresh_usage();
    return out;
}

// ---- codes -------------------------------------------------------------------------------------------------------------

Codes FirstStageRunner::codes_of(const Latents & raw, const JobContext & job) {
    const auto [n, c, h, w] = raw.shape;
    Codes codes{{n, h, w}, std::vector<int32_t>(static_cast<size_t>(n * h * w))};
    network_->quantise(raw.data, n, h, w, codes.data, {}, job);
    return codes;
}

Latents FirstStageRunner::lookup(const Codes & codes, const JobContext & job) {
    require_codes("decodeCodes");
    const auto [n, h, w] = codes.shape;
    if (n < 1 || h < 1 || w < 1 || codes.data.size() != static_cast<size_t>(n * h * w)) {
        refuse("decodeCodes: the number of codes does not match the shape");
    }
    for (const int32_t code : codes.data) {
        if (code >= 0 && code < form_.codebook_size) continue;
        refuse("decodeCodes: code " + std::to_string(code) + " is outside 0.." + std::to_string(form_.codebook_size - 1));
    }
    residency_.use(*network_, job);
    Latents z{{n, form_.latent_channels, h, w}, {}};
    require_memory(elements(z.shape) * sizeof(float), "decodeCodes: the vectors of so many codes");
    z.data.resize(elements(z.shape));
    network_->lookup(codes.data, n, h, w, z.data);
    return z;
}

}  // namespace latent::pipeline
