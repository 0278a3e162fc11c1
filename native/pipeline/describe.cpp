#include <algorithm>
#include <map>
#include <string>

#include "pipeline/stages.h"
#include "samplers/solver.h"

namespace latent::pipeline {

namespace {

/// The networks' parameters, dtypes and effectiveBits, by part.
Json describe_weights(const std::vector<models::Network *> & networks) {
    struct Part {  // networks with the same part name
        uint64_t parameters = 0, bytes = 0;
        std::map<DType, uint64_t> by_type;
    };
    std::map<std::string, Part> parts;
    for (const models::Network * network : networks) {
        const graph::WeightStore & weights = network->weights();
        Part & part = parts[weights.part()];
        part.parameters += weights.parameter_count(), part.bytes += weights.bytes();
        for (const auto & [type, bytes] : weights.bytes_by_dtype()) part.by_type[type] += bytes;
    }
    Json parameters = Json::object(), dtypes = Json::object(), bits = Json::object();
    uint64_t total = 0;
    for (const auto & [name, part] : parts) {
        const auto largest = std::max_element(part.by_type.begin(), part.by_type.end(),
                                              [](const auto & a, const auto & b) { return a.second < b.second; });
        parameters[name] = part.parameters;
        total += part.parameters;
        if (largest != part.by_type.end()) dtypes[name] = largest->first == DType::i8 ? "int8" : dtype_name(largest->first);
        bits[name] = part.parameters ? 8.0 * static_cast<double>(part.bytes) / static_cast<double>(part.parameters) : 0.0;
    }
    parameters["total"] = total;
    return {{"parameters", parameters}, {"dtypes", dtypes}, {"effectiveBits", bits}};
}

Json describe_refiner(const Stages & stages) {
    Json out = describe_weights(stages.refiner_networks());
    out["name"] = stages.opened->refiner->spec.name;
    return out;
}

}  // namespace

Json describe(const Stages & stages) {
    const ModelSpec & spec = stages.spec();
    const Conditioners * conditioners = stages.conditioners.get();
    Json samplers = Json::array(), schedules = Json::array();
    Json labels = Json::object(), default_schedules = Json::object();
    const bool continuous = spec.schedule.edm.has_value();
    for (const auto & sampler : samplers::list_samplers()) {
        if (continuous && !sampler.continuous) continue;
        samplers.push_back(sampler.name);
        labels[sampler.name] = sampler.label;
        default_schedules[sampler.name] = continuous ? "karras" : sampler.default_schedule;
    }
    for (const auto & schedule : samplers::list_schedules()) {
        if (continuous && !schedule.continuous) continue;
        schedules.push_back(schedule.name);
        labels[schedule.name] = schedule.label;
    }
    Json condition = conditioners ? conditioners->info() : Json{{"guidance", false}};
    if (stages.denoiser && stages.denoiser->form().guidance) condition["guidanceEmbedding"] = true;
    Json defaults = {{"width", spec.image_size},
                     {"height", spec.image_size},
                     {"steps", spec.steps},
                     {"sampler", spec.sampler},
                     {"schedule", spec.sampling_schedule},
                     {"timesteps", spec.sampling_timesteps},
                     {"guidanceScale", spec.guidance_scale},
                     {"eta", -1},
                     {"clipSkip", 0}};
    if (stages.denoiser && stages.denoiser->options().editing)
        defaults["imageGuidanceScale"] = SamplingRequest{}.image_guidance_scale;
    const int64_t factor = conditioners && stages.denoiser ? conditioners->size_multiple() : spec.downsampling();
    const graph::DeviceInfo device = stages.device()->info();
    Json out = {{"kind", spec.kind},
                {"condition", condition},
                {"name", spec.name},
                {"spec", to_json(spec)},
                {"defaults", defaults},
                {"samplers", samplers},
                {"schedules", schedules},
                {"defaultSchedules", default_schedules},
                {"labels", labels},
                {"downsampling", spec.downsampling()},
                {"sizeMultiple", factor},
                {"latentChannels", spec.latent_channels()},
                {"precision", stages.request.precision == Precision::exact ? "exact" : "fast"},
                {"memory", stages.residency.one_part_at_a_time() ? "low" : stages.request.memory},
                {"device",
                 {{"id", device.name},
                  {"type", device.kind},
                  {"name", device.description},
                  {"memoryTotal", device.memory_total},
                  {"memoryFree", device.memory_free},
                  {"threads", stages.device()->threads()}}}};
    out.update(describe_weights(stages.own_networks()));
    if (stages.refiner) out["refiner"] = describe_refiner(stages);
    return out;
}

}  // namespace latent::pipeline
