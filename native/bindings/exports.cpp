#include "bindings/exports.h"

#include <algorithm>
#include <cmath>

#include "bindings/arguments.h"
#include "bindings/requests.h"
#include "bindings/solver_wrap.h"
#include "bindings/values.h"
#include "core/cpu.h"
#include "core/rng_draws.h"
#include "formats/adapters/merged_source.h"
#include "graph/check/device_check.h"
#include "graph/cuda/cuda_library.h"
#include "graph/device.h"
#include "graph/portable/ggml_library.h"
#include "kernels/common/choice.h"
#include "kernels/peak/peak.h"

#ifndef LATENT_VERSION
#define LATENT_VERSION "unknown"
#endif
#ifndef LATENT_GGML_VERSION
#define LATENT_GGML_VERSION "unknown"
#endif

namespace latent::bindings {
namespace {

/// Work on files has its own queue, so that it does not wait for images.
std::shared_ptr<JobQueue> file_queue(Napi::Env env) {
    return EnvData::of(env).queue("files");
}

/// CPU kernels in use, and the possible values of LATENT_KERNELS.
Json kernels_json(const std::string & home) {
    const kernels::KernelChoice choice = kernels::kernel_choice();
    Json floats = Json::array();
    for (const auto & [name, format] : choice.runnable) floats.push_back({{"name", name}, {"format", format}});
    return {{"operations", home},  {"float32", choice.float32},
            {"fast", choice.fast}, {"int8", choice.int8},
            {"rows", choice.rows}, {"available", {{"float", floats}, {"int8", choice.runnable_int8}}}};
}

}  // namespace

Napi::Value versions(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        std::vector<std::string> backends = graph::device_kinds();
        std::sort(backends.begin(), backends.end());
        return json_to_js(info.Env(),
                          {{"version", LATENT_VERSION},
                           {"ggml", LATENT_GGML_VERSION},
                           {"cpu", {{"brand", cpu_brand()}, {"features", cpu_features().names()}, {"cores", usable_cores()}}},
                           {"backends", backends}});
    });
}

Napi::Value get_devices(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        Json devices = Json::array();
        const std::string kind = info.Length() > 0 ? string_argument(info, 0, "kind") : "";
        for (const graph::DeviceInfo & device : graph::list_devices(kind)) {
            devices.push_back({{"id", device.name},
                               {"type", device.kind},
                               {"name", device.description},
                               {"memoryTotal", device.memory_total},
                               {"memoryFree", device.memory_free}});
            if (!device.driver.empty()) devices.back()["driver"] = device.driver;
            if (!device.refused.empty()) devices.back()["refused"] = device.refused;
            if (device.kind == "cpu") devices.back()["kernels"] = kernels_json(device.home);
        }
        return json_to_js(info.Env(), devices);
    });
}

Napi::Value set_gpu_library(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const std::string kind = string_argument(info, 0, "kind"), path = string_argument(info, 1, "path"),
                          refused = string_argument(info, 2, "refused");
        if (kind == "cuda") {
            graph::set_cuda_library(path);
            graph::refuse_cuda(refused);
        } else {
            graph::set_backend_library(kind, path);
            graph::refuse_backend(kind, refused);
        }
        return info.Env().Undefined();
    });
}

Napi::Value refuse_device(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        graph::refuse_device(string_argument(info, 0, "device"), string_argument(info, 1, "reason"));
        return info.Env().Undefined();
    });
}

Napi::Value device_checks(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        return json_to_js(info.Env(), {{"first", graph::first_check()}, {"all", graph::check_names()}});
    });
}

Napi::Value check_device(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const std::string device = string_argument(info, 0, "device"), check = string_argument(info, 1, "check");
        EnvData & data = EnvData::of(info.Env());
        return data.start(data.queue("device " + device), {}, [device, check](const JobContext & job) -> Completion {
            const graph::CheckResult result = graph::check_operation(graph::Device::create(device), check, job);
            auto row = std::make_shared<Json>(Json{{"check", result.name},
                                                   {"error", result.error},
                                                   {"bound", result.bound},
                                                   {"passed", result.passed()},
                                                   {"firstMs", result.first},
                                                   {"ms", result.milliseconds}});
            return [row](Napi::Env env) { return json_to_js(env, *row); };
        });
    });
}

Napi::Value set_logger(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData::of(info.Env()).set_logger(argument(info, 0));
        return info.Env().Undefined();
    });
}

Napi::Value inspect(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const pipeline::LoadRequest request = load_request(request_argument(info));
        return EnvData::of(info.Env()).start(file_queue(info.Env()), {}, [request](const JobContext &) -> Completion {
            auto text = std::make_shared<std::string>(json_text(pipeline::inspect(request)));
            return [text](Napi::Env env) { return Napi::String::New(env, *text); };
        });
    });
}

Napi::Value convert(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const ConvertRequest request = convert_request(request_argument(info));
        EnvData::StartOptions options;
        options.callbacks = callbacks_argument(info, 1);
        return EnvData::of(info.Env())
            .start(file_queue(info.Env()), std::move(options), [request](const JobContext & job) -> Completion {
                formats::MergedModel merged{formats::open_model(request.source)};
                if (!request.adapters.empty()) merged = formats::merge_adapters(std::move(merged.model), request.adapters, job);
                auto report =
                    std::make_shared<Json>(formats::convert(merged.model, request.destination, request.options, job).to_json());
                (*report)["adapters"] = merged.adapters;
                return [report](Napi::Env env) { return json_to_js(env, *report); };
            });
    });
}

Napi::Value create_noise(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const NoiseRequest request = noise_request(request_argument(info));
        const Span<float> out = floats(argument(info, 1), "out", request.elements);
        EnvData & data = EnvData::of(info.Env());
        EnvData::StartOptions options;
        // The array is kept while it is filled. Nothing else uses it: TypeScript returns it when the job is done.
        const auto held = std::make_shared<Napi::ObjectReference>(Napi::Persistent(argument(info, 1).As<Napi::Object>()));
        options.on_settled = [held] { held->Reset(); };
        return data.start(data.queue("noise"), std::move(options), [request, out](const JobContext & job) -> Completion {
            fill_noise(request.rng, request.seed, request.offset, out, job.cancel.get());
            return [](Napi::Env env) { return env.Undefined(); };
        });
    });
}

Napi::Value create_random(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const Json request = request_argument(info);
        const std::string kind = one_of(request, "kind", "words", {"words", "uniform", "integers", "permutation"});
        const uint64_t seed = seed_field(request);
        if (kind == "uniform") {
            fill_uniform(seed, floats(argument(info, 1), "out"));
            return info.Env().Undefined();
        }
        const Span<int32_t> out = integers(argument(info, 1), "out");
        if (kind == "words") {
            fill_words(parse_rng_kind(rng_field(request)), seed, {reinterpret_cast<uint32_t *>(out.data()), out.size()});
        } else if (kind == "permutation") {
            fill_permutation(seed, out);
        } else {
            const int64_t low = int_field(request, "low", 0, INT32_MIN, INT32_MAX);
            fill_integers(seed, low, int_field(request, "high", low + 1, low + 1, int64_t{INT32_MAX} + 1), out);
        }
        return info.Env().Undefined();
    });
}

Napi::Value create_solver(const Napi::CallbackInfo & info) {
    return guarded(info.Env(),
                   [&]() -> Napi::Value { return SolverWrap::make(info.Env(), solver_request(request_argument(info))); });
}

namespace {

/// A job for { threads, seconds }; measure(threads, seconds) returns an array.
template <typename Measure>
Napi::Value start_measuring(const Napi::CallbackInfo & info, Measure measure) {
    return guarded(info.Env(), [&] {
        const Json request = request_argument(info);
        const int threads = static_cast<int>(int_field(request, "threads", 0, 0, 1024));
        const double seconds = number_field(request, "seconds", 0.2, 0.001, 60);
        EnvData & data = EnvData::of(info.Env());
        return data.start(data.queue("device cpu"), {}, [threads, seconds, measure](const JobContext &) -> Completion {
            auto rows = std::make_shared<Json>(measure(threads > 0 ? threads : usable_cores(), seconds));
            return [rows](Napi::Env env) { return json_to_js(env, *rows); };
        });
    });
}

}  // namespace

Napi::Value measure_peak(const Napi::CallbackInfo & info) {
    return start_measuring(info, [](int threads, double seconds) {
        Json rows = Json::array();
        for (const kernels::Peak & peak : kernels::measure_peak(threads, seconds))
            rows.push_back({{"format", peak.format}, {"instructions", peak.instructions}, {"gflops", peak.gflops}});
        return rows;
    });
}

Napi::Value measure_bandwidth(const Napi::CallbackInfo & info) {
    return start_measuring(info, [](int threads, double seconds) {
        Json rows = Json::array();
        for (const kernels::Bandwidth & each : kernels::measure_bandwidth(threads, seconds))
            rows.push_back({{"bytes", each.bytes}, {"gigabytesPerSecond", each.gigabytes}});
        return rows;
    });
}

}  // namespace latent::bindings
