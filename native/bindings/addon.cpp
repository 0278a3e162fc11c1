// Creates the exports of the binary, once per environment.
#include "bindings/conditioning_wrap.h"
#include "bindings/env_data.h"
#include "bindings/exports.h"
#include "bindings/latents_wrap.h"
#include "bindings/node_addon_api.h"
#include "bindings/pipeline_wrap.h"
#include "bindings/sampler_wrap.h"
#include "bindings/solver_wrap.h"
#include "bindings/tensors_wrap.h"

namespace latent::bindings {
namespace {

/// process.exit() in the main thread does not run the environment's cleanup hooks: the 'exit' event is the last chance to end our
/// threads before the process's destructors run.
void stop_at_exit(Napi::Env env) {
    const Napi::Value process = env.Global().Get("process");
    if (!process.IsObject()) return;
    const Napi::Value once = process.As<Napi::Object>().Get("once");
    if (!once.IsFunction()) return;
    const Napi::Function stop = Napi::Function::New(
        env,
        [](const Napi::CallbackInfo & info) {
            if (EnvData * data = info.Env().GetInstanceData<EnvData>()) data->shutdown();
        },
        "stopEngine");
    once.As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), stop});
}

Napi::Object make_exports(Napi::Env env, Napi::Object exports) {
    auto * data = new EnvData(env);
    env.SetInstanceData(data);  // deleted with the environment
    data->pipeline_class = Napi::Persistent(PipelineWrap::define(env));
    data->latents_class = Napi::Persistent(LatentsWrap::define(env));
    data->conditioning_class = Napi::Persistent(ConditioningWrap::define(env));
    data->sampler_class = Napi::Persistent(SamplerWrap::define(env));
    data->solver_class = Napi::Persistent(SolverWrap::define(env));
    data->tensors_class = Napi::Persistent(TensorsWrap::define(env));
    stop_at_exit(env);

    const auto add = [&](const char * name, Napi::Value (*function)(const Napi::CallbackInfo &)) {
        exports.Set(name, Napi::Function::New(env, function, name));
    };
    add("versions", versions);
    add("getDevices", get_devices);
    add("setGpuLibrary", set_gpu_library);
    add("refuseDevice", refuse_device);
    add("deviceChecks", device_checks);
    add("checkDevice", check_device);
    add("setLogger", set_logger);
    add("inspect", inspect);
    add("convert", convert);
    add("createNoise", create_noise);
    add("createRandom", create_random);
    add("createSolver", create_solver);
    add("measurePeak", measure_peak);
    add("measureBandwidth", measure_bandwidth);
    add("loadPipeline", PipelineWrap::load);
    add("openTensors", TensorsWrap::open);
    add("latentsFrom", LatentsWrap::from);
    add("conditioningFrom", ConditioningWrap::from);
    return exports;
}

}  // namespace

napi_value initialize(napi_env env, napi_value exports) {
    return Napi::RegisterModule(env, exports, make_exports);
}

}  // namespace latent::bindings
