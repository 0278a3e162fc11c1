#include "bindings/requests.h"

#include <algorithm>
#include <limits>

#include "core/parts.h"

namespace latent::bindings {
namespace {

constexpr int64_t max_side = 1 << 16;
constexpr int64_t max_batch = 4096;
constexpr int64_t max_steps = 1'000'000;
constexpr size_t max_adapters = 256;
constexpr size_t max_vector_numbers = size_t{1} << 20;  // per embedding
constexpr size_t max_text = size_t{128} << 20;
constexpr double largest = std::numeric_limits<double>::max();

pipeline::TokenChunk::Vectors token_vectors(const Json & value) {
    if (!value.is_object()) refuse("vectors", "must contain objects");
    pipeline::TokenChunk::Vectors run;
    run.first = int_field(value, "first", 0, 0, 4096);
    run.count = int_field(value, "count", 1, 1, 4096);
    for (const Json & numbers : array_field(value, "encoders")) {
        if (!numbers.is_array() || numbers.size() > max_vector_numbers) refuse("encoders", "must contain lists of numbers");
        std::vector<float> values;
        values.reserve(numbers.size());
        for (const Json & number : numbers) {
            if (!number.is_number()) refuse("encoders", "must contain lists of numbers");
            values.push_back(number.get<float>());
        }
        run.encoders.push_back(std::move(values));
    }
    return run;
}

pipeline::TokenChunk token_chunk(const Json & value) {
    if (!value.is_object()) refuse("chunks", "must contain objects");
    pipeline::TokenChunk chunk;
    for (const Json & id : array_field(value, "ids")) {
        chunk.ids.push_back(static_cast<int32_t>(checked_int(id, "ids", 0, INT32_MAX)));
    }
    for (const double weight : numbers_field(value, "weights", -1e6, 1e6)) chunk.weights.push_back(static_cast<float>(weight));
    for (const Json & run : array_field(value, "vectors")) chunk.vectors.push_back(token_vectors(run));
    if (chunk.ids.empty() || chunk.ids.size() > 4096) refuse("ids", "must have 1 to 4096 tokens");
    if (!chunk.weights.empty() && chunk.weights.size() != chunk.ids.size()) refuse("weights", "must have one weight per token");
    return chunk;
}

void apply_memory(const Json & memory, pipeline::LoadRequest & load) {
    load.memory = one_of(memory, "mode", "auto", {"auto", "fast", "low"});
    load.max_bytes = static_cast<uint64_t>(number_field(memory, "maxBytes", 0, 0, 9007199254740991.0));
    if (find_field(memory, "vaeTiling")) load.vae_tiling = bool_field(memory, "vaeTiling", false);
    load.vae_tile_size = static_cast<int>(int_field(memory, "vaeTileSize", 0, 0, max_side));
    load.tile_size = static_cast<int>(int_field(memory, "tileSize", 0, 0, max_side));
}

pipeline::SamplingRequest::DeepCache deep_cache_field(const Json & request) {
    const Json & value = object_field(request, "deepCache");
    pipeline::SamplingRequest::DeepCache deep_cache;
    deep_cache.interval = static_cast<int>(int_field(value, "interval", 1, 1, max_steps));
    deep_cache.branch = static_cast<int>(int_field(value, "branch", 0, 0, 1000));
    return deep_cache;
}

/// Two numbers of pixels.
std::optional<std::array<double, 2>> pair_field(const Json & value, const char * name, double least) {
    if (!find_field(value, name)) return std::nullopt;
    const std::vector<double> numbers = numbers_field(value, name, least, 1 << 20);
    if (numbers.size() != 2) refuse(name, "must have two numbers");
    return std::array<double, 2>{numbers[0], numbers[1]};
}

std::optional<double> score_field(const Json & value, const char * name) {
    if (!find_field(value, name)) return std::nullopt;
    return number_field(value, name, 0, 0, 100);
}

pipeline::SizeInputs size_inputs(const Json & value) {
    pipeline::SizeInputs sizes;
    sizes.original = pair_field(value, "original", 1);
    sizes.crop = pair_field(value, "crop", 0);
    sizes.target = pair_field(value, "target", 1);
    sizes.score = score_field(value, "aestheticScore");
    sizes.negative_score = score_field(value, "negativeAestheticScore");
    return sizes;
}

NoiseSchedule noise_schedule(const Json & value) {
    NoiseSchedule schedule;
    schedule.beta_schedule = text_field(value, "betaSchedule", schedule.beta_schedule);
    schedule.beta_start = number_field(value, "betaStart", schedule.beta_start, 0, 1);
    schedule.beta_end = number_field(value, "betaEnd", schedule.beta_end, 0, 1);
    schedule.zero_terminal_snr = bool_field(value, "zeroTerminalSnr", schedule.zero_terminal_snr);
    schedule.betas = numbers_field(value, "betas", 0, 1);
    if (!schedule.betas.empty()) schedule.timesteps = static_cast<int>(schedule.betas.size());
    schedule.timesteps = static_cast<int>(int_field(value, "timesteps", schedule.timesteps, 1, 100'000));
    if (const Json & edm = object_field(value, "edm"); !edm.is_null()) {
        schedule.edm.emplace();
        schedule.edm->sigma_min = number_field(edm, "sigmaMin", schedule.edm->sigma_min, 1e-6, 1e6);
        schedule.edm->sigma_max = number_field(edm, "sigmaMax", schedule.edm->sigma_max, 1e-6, 1e6);
        schedule.edm->sigma_data = number_field(edm, "sigmaData", schedule.edm->sigma_data, 1e-3, 1e3);
    }
    return schedule;
}

}  // namespace

pipeline::LoadRequest load_request(const Json & request) {
    pipeline::LoadRequest load;
    load.model = text_field(request, "model", "");
    load.unet = text_field(request, "unet", "");
    load.text_encoder = text_field(request, "textEncoder", "");
    load.vae = text_field(request, "vae", "");
    load.image_encoder = text_field(request, "imageEncoder", "");
    load.preview_vae = text_field(request, "previewVae", "");
    load.refiner = text_field(request, "refiner", "");
    load.refiner_config = object_field(request, "refinerConfig");
    load.variant = text_field(request, "variant", "", 64);
    load.config = object_field(request, "config");
    load.spec = object_field(request, "spec");
    if (find_field(request, "ema")) load.ema = bool_field(request, "ema", false);
    load.device = text_field(request, "device", "auto", 64);
    load.threads = static_cast<int>(int_field(request, "threads", 0, 0, 1024));
    load.precision = one_of(request, "precision", "fast", {"exact", "fast"}) == "exact" ? pipeline::Precision::exact
                                                                                        : pipeline::Precision::fast;
    const Json & dtype = object_field(request, "dtype");
    for (const PartTraits & part : part_table()) {
        if (find_field(dtype, part.name)) load.dtype[part.name] = text_field(dtype, part.name, "", 32);
    }
    const Json & memory = object_field(request, "memory");
    if (!memory.is_null()) apply_memory(memory, load);
    load.headers_only = bool_field(request, "headersOnly", false);
    load.first_stage_only = bool_field(request, "firstStageOnly", false);
    const std::string * parts[] = {&load.model, &load.unet, &load.vae, &load.text_encoder, &load.image_encoder};
    if (std::all_of(std::begin(parts), std::end(parts), [](const std::string * part) { return part->empty(); })) {
        refuse("model", "is missing");
    }
    return load;
}

pipeline::PromptTokens prompt_tokens(const Json & request) {
    pipeline::PromptTokens tokens;
    const Json & chunks = array_field(request, "chunks");
    if (chunks.empty() || chunks.size() > 4096) refuse("chunks", "must have 1 to 4096 windows");
    for (const Json & chunk : chunks) tokens.chunks.push_back(token_chunk(chunk));
    tokens.emphasis = one_of(request, "emphasis", "original", {"original", "no_norm", "comfy"});
    tokens.clip_skip = static_cast<int>(int_field(request, "clipSkip", 0, 0, 1000));
    return tokens;
}

pipeline::Inputs inputs_request(const Json & request) {
    pipeline::Inputs inputs;
    if (find_field(request, "prompt")) inputs.prompt = prompt_tokens(object_field(request, "prompt"));
    if (const Json & area = array_field(request, "depthArea"); !area.empty()) {
        if (area.size() != 2) refuse("depthArea", "must be a width and a height");
        inputs.depth_area = {checked_int(area[0], "depthArea", 1, 1 << 20), checked_int(area[1], "depthArea", 1, 1 << 20)};
    }
    if (find_field(request, "noiseLevel")) {
        inputs.noise_level = static_cast<int>(int_field(request, "noiseLevel", 0, 0, max_steps));
    }
    if (find_field(request, "sizes")) inputs.sizes = size_inputs(object_field(request, "sizes"));
    inputs.width = static_cast<int>(int_field(request, "width", 0, 0, max_side));
    inputs.height = static_cast<int>(int_field(request, "height", 0, 0, max_side));
    inputs.unconditional = bool_field(request, "unconditional", false);
    inputs.seed = seed_field(request);
    inputs.rng = rng_field(request);
    return inputs;
}

pipeline::LossRequest loss_request(const Json & request) {
    pipeline::LossRequest loss;
    for (const Json & t : array_field(request, "timesteps")) {
        loss.timesteps.push_back(static_cast<int>(checked_int(t, "timesteps", 0, max_steps)));
    }
    if (loss.timesteps.empty()) refuse("timesteps", "is missing");
    const Json & inputs = object_field(request, "inputs");
    if (!inputs.is_null()) loss.inputs = inputs_request(inputs);
    loss.seed = seed_field(request);
    loss.rng = rng_field(request);
    return loss;
}

namespace {

/// Fields shared by sampling loops and separate solvers.
template <typename Options>
void read_schedule(const Json & request, Options & options) {
    options.schedule = text_field(request, "schedule", "", 64);
    options.dialect = text_field(request, "dialect", "", 64);
    options.sigmas = numbers_field(request, "sigmas", 0, largest);
    options.timesteps = numbers_field(request, "timesteps", 0, 1e6);
    options.denoising_start = number_field(request, "denoisingStart", 0, 0, 1);
    options.denoising_end = number_field(request, "denoisingEnd", 1, 0, 1);
    options.eta = number_field(request, "eta", -1, -1e3, 1e3);
}

}  // namespace

pipeline::SamplingRequest sampling_request(const Json & request) {
    pipeline::SamplingRequest sampling;
    sampling.sampler = text_field(request, "sampler", "", 64);
    read_schedule(request, sampling);
    sampling.steps = static_cast<int>(int_field(request, "steps", 0, 0, max_steps));
    sampling.guidance_scale = number_field(request, "guidanceScale", sampling.guidance_scale, -1e6, 1e6);
    sampling.image_guidance_scale = number_field(request, "imageGuidanceScale", sampling.image_guidance_scale, -1e6, 1e6);
    sampling.guidance_rescale = number_field(request, "guidanceRescale", 0, 0, 1);
    const std::vector<double> interval = numbers_field(request, "guidanceInterval", 0, 1);
    if (interval.size() == 2) sampling.guidance_interval = {interval[0], interval[1]};
    sampling.deep_cache = deep_cache_field(request);
    sampling.seed = seed_field(request);
    sampling.rng = rng_field(request);
    sampling.strength = number_field(request, "strength", 1, 0, 1);
    sampling.extra = object_field(request, "extra");
    return sampling;
}

namespace {

std::optional<pipeline::AdapterUses> adapters_field(const Json & request) {
    if (!find_field(request, "adapters")) return std::nullopt;
    return adapter_uses(request);
}

}  // namespace

pipeline::AdapterUses adapter_uses(const Json & request) {
    pipeline::AdapterUses uses;
    for (const Json & value : array_field(request, "adapters")) {
        if (!value.is_object()) refuse("adapters", "must contain objects");
        pipeline::AdapterUse use;
        use.path = text_field(value, "path", "");
        if (use.path.empty()) refuse("adapters", "must each have a path");
        use.weight = number_field(value, "weight", 1, -1e3, 1e3);
        use.text_weight = number_field(value, "textWeight", 1, -1e3, 1e3);
        use.stamp = text_field(value, "stamp", "", 200);
        uses.push_back(std::move(use));
    }
    if (uses.size() > max_adapters) refuse("adapters", "has too many entries");
    return uses;
}

pipeline::EstimateRequest estimate_request(const Json & request) {
    pipeline::EstimateRequest estimate;
    estimate.width = static_cast<int>(int_field(request, "width", 0, 0, max_side));
    estimate.height = static_cast<int>(int_field(request, "height", 0, 0, max_side));
    estimate.guidance_scale = number_field(request, "guidanceScale", estimate.guidance_scale, -1e6, 1e6);
    estimate.image_guidance_scale = number_field(request, "imageGuidanceScale", estimate.image_guidance_scale, -1e6, 1e6);
    estimate.count = static_cast<int>(int_field(request, "count", 1, 1, max_batch));
    estimate.deep_cache = deep_cache_field(request);
    estimate.preview_method = one_of(request, "previewMethod", "", {"", "linear", "taesd", "vae"});
    estimate.adapters = adapters_field(request);
    return estimate;
}

pipeline::GenerateRequest generate_request(const Json & request) {
    pipeline::GenerateRequest generate;
    generate.sampling = sampling_request(request);
    generate.inputs = inputs_request(request);
    if (find_field(request, "negative")) generate.negative = prompt_tokens(object_field(request, "negative"));
    generate.empty_negative = bool_field(request, "emptyNegative", false);
    generate.refiner_switch_at = number_field(request, "refinerSwitchAt", generate.refiner_switch_at, 0, 1);
    generate.width = static_cast<int>(int_field(request, "width", 0, 0, max_side));
    generate.height = static_cast<int>(int_field(request, "height", 0, 0, max_side));
    generate.count = static_cast<int>(int_field(request, "count", 1, 1, max_batch));
    generate.variation_strength = number_field(request, "variationStrength", 0, 0, 1);
    generate.variation_seed = seed_field(request, "variationSeed");
    generate.output_latents = bool_field(request, "outputLatents", false);
    generate.adapters = adapters_field(request);
    generate.preview_every = static_cast<int>(int_field(request, "previewEvery", 0, 0, max_steps));
    generate.preview_method = one_of(request, "previewMethod", "linear", {"linear", "taesd", "vae"});
    return generate;
}

SolverRequest solver_request(const Json & request) {
    SolverRequest solver;
    samplers::SolverOptions & options = solver.options;
    options.sampler = text_field(request, "sampler", options.sampler, 64);
    read_schedule(request, options);
    options.steps = static_cast<int>(int_field(request, "steps", options.steps, 1, max_steps));
    const std::string prediction = one_of(request, "prediction", "eps", {"eps", "epsilon", "v", "v_prediction", "sample", "edm"});
    options.prediction = prediction_from_name(prediction);
    options.noise_schedule = noise_schedule(object_field(request, "noiseSchedule"));
    options.image_to_image = bool_field(request, "imageToImage", false);
    options.strength = number_field(request, "strength", 1, 0, 1);
    options.extra = object_field(request, "extra");
    solver.start_step = static_cast<int>(int_field(request, "startStep", -1, 0, max_steps));
    if (solver.start_step > options.steps) refuse("startStep", "lies beyond the last step");
    solver.seed = seed_field(request);
    solver.rng = parse_rng_kind(rng_field(request));
    return solver;
}

ImageRequest image_request(const Json & request) {
    return {shape_field(request, "shape"), one_of(request, "mode", "sample", {"sample", "mean", "moments", "prequant"}),
            seed_field(request), rng_field(request)};
}

LatentsRequest latents_request(const Json & request) {
    return {static_cast<int>(int_field(request, "width", 0, 1, max_side)),
            static_cast<int>(int_field(request, "height", 0, 1, max_side)),
            static_cast<int>(int_field(request, "batch", 1, 1, max_batch)), seed_field(request), rng_field(request)};
}

PredictRequest predict_request(const Json & request) {
    PredictRequest predict{numbers_field(request, "timesteps", -1e6, 1e6), number_field(request, "guidanceScale", 1, -1e6, 1e6),
                           number_field(request, "imageGuidanceScale", 1, -1e6, 1e6)};
    if (predict.timesteps.empty()) refuse("timesteps", "is missing");
    return predict;
}

NoiseRequest noise_request(const Json & request) {
    NoiseRequest noise;
    noise.seed = seed_field(request);
    noise.rng = parse_rng_kind(rng_field(request));
    noise.offset = static_cast<uint32_t>(int_field(request, "offset", 0, 0, UINT32_MAX));
    noise.elements = 1;
    for (const int64_t size : shape_field(request, "shape")) {
        if (noise.elements > (size_t{1} << 40) / static_cast<size_t>(size)) refuse("shape", "describes too many values");
        noise.elements *= static_cast<size_t>(size);
    }
    return noise;
}

ConvertRequest convert_request(const Json & request) {
    ConvertRequest convert;
    const pipeline::LoadRequest load = load_request(object_field(request, "source"));
    convert.source = pipeline::model_parts(load);
    convert.destination = text_field(request, "destination", "");
    if (convert.destination.empty()) refuse("destination", "is missing");
    convert.options.type = formats::weight_type_from_name(text_field(request, "type", "", 32));
    for (const Json & pair : array_field(request, "overrides")) {
        if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
            refuse("overrides", "must contain pairs [pattern, type]");
        }
        convert.options.overrides.emplace_back(pair[0].get<std::string>(),
                                               formats::weight_type_from_name(pair[1].get<std::string>()));
    }
    for (const auto & [key, text] : object_field(request, "metadata").items()) {
        if (!text.is_string()) refuse("metadata", "must contain strings");
        convert.options.metadata[key] = text.get<std::string>();
    }
    convert.options.tokenizer = text_field(request, "tokenizer", "", max_text);
    convert.options.threads = load.threads;
    if (find_field(request, "adapters")) convert.adapters = adapter_uses(request);
    return convert;
}

}  // namespace latent::bindings
