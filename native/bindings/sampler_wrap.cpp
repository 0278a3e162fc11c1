#include "bindings/sampler_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/values.h"
#include "pipeline/image/to_pictures.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag sampler_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b03};

struct StepInfo {
    int index = 0, steps = 0;
    double sigma = 0, timestep = 0;
    bool done = false;
};

Napi::Value to_js(Napi::Env env, const StepInfo & step) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("index", step.index);
    object.Set("steps", step.steps);
    object.Set("sigma", step.sigma);
    object.Set("timestep", step.timestep);
    object.Set("done", step.done);
    return object;
}

pipeline::Latents row_of(const pipeline::Latents & latents, int row) {
    const size_t size = latents.data.size() / static_cast<size_t>(latents.shape[0]);
    const auto begin = latents.data.begin() + static_cast<std::ptrdiff_t>(size * static_cast<size_t>(row));
    return {{1, latents.shape[1], latents.shape[2], latents.shape[3]}, {begin, begin + static_cast<std::ptrdiff_t>(size)}};
}

Picture make_preview(SamplerState & state, const std::string & method, int row, const JobContext & job) {
    const pipeline::SamplingRun & sampler = *state.sampler;
    // Before the first step there is no estimate of the clean latents yet.
    const pipeline::Latents & shown = sampler.index() == 0 ? state.sampler->latents() : sampler.denoised();
    pipeline::Pipeline & engine = *state.pipeline->engine;
    if (method == "linear") return engine.preview(shown, row);
    const pipeline::Latents one = row_of(shown, row);
    const pipeline::ImageTensor decoded = method == "taesd" ? engine.decode_preview(one, job) : engine.decode(one, true, job);
    return std::move(pipeline::to_pictures(decoded).at(0));
}

}  // namespace

Napi::Function SamplerWrap::define(Napi::Env env) {
    return DefineClass(env, "NativeSampler",
                       {InstanceAccessor<&SamplerWrap::steps>("steps"), InstanceAccessor<&SamplerWrap::latents>("latents"),
                        InstanceMethod<&SamplerWrap::step>("step"), InstanceMethod<&SamplerWrap::preview>("preview"),
                        InstanceMethod<&SamplerWrap::dispose>("dispose")});
}

Napi::Object SamplerWrap::make(Napi::Env env, std::shared_ptr<SamplerState> state) {
    return construct(env, EnvData::of(env).sampler_class, &state, sampler_tag);
}

SamplerWrap::SamplerWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<std::shared_ptr<SamplerState> *>(take_constructing(info)))) {
    steps_ = state_->sampler->steps();
    latents_ = Napi::Persistent(LatentsWrap::make(info.Env(), {nullptr, state_, state_->pipeline}));
}

SamplerWrap::~SamplerWrap() {
    let_go();
}

void SamplerWrap::let_go() {
    if (!state_) return;
    const std::shared_ptr<JobQueue> queue = state_->pipeline->queue;
    queue->release(std::move(state_));
    state_.reset();
}

std::shared_ptr<SamplerState> SamplerWrap::checked() const {
    if (!state_) throw Error(ErrorCode::disposed, "This sampling loop has been disposed of");
    state_->pipeline->check();
    return state_;
}

Napi::Value SamplerWrap::steps(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), steps_);
}

Napi::Value SamplerWrap::latents(const Napi::CallbackInfo &) {
    return latents_.Value();
}

Napi::Value SamplerWrap::start(Napi::Env env, const std::shared_ptr<SamplerState> & state, Callbacks callbacks, Work work) {
    EnvData::StartOptions options;
    options.callbacks = std::move(callbacks);
    options.on_settled = [state] { --state->pending; };
    const Napi::Value job = EnvData::of(env).start(state->pipeline->queue, std::move(options), std::move(work));
    ++state->pending;
    return job;
}

Napi::Value SamplerWrap::step(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const auto state = checked();
        return start(info.Env(), state, callbacks_argument(info, 0), [state](const JobContext & job) -> Completion {
            pipeline::SamplingRun & sampler = *state->sampler;
            sampler.step(job);
            const StepInfo step{sampler.index() - 1, sampler.steps(), sampler.sigma(), sampler.timestep(), sampler.done()};
            job.report(Phase::sample, step.index + 1, step.steps);
            return [step](Napi::Env env) { return to_js(env, step); };
        });
    });
}

Napi::Value SamplerWrap::preview(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const auto state = checked();
        const std::string method = string_argument(info, 0, "method");
        if (method != "linear" && method != "taesd" && method != "vae")
            throw Error(ErrorCode::invalid_argument, "method must be linear, taesd or vae");
        const Napi::Value number = argument(info, 1);
        if (!number.IsNumber()) throw ArgumentTypeError("index must be a number");
        const double row = number.As<Napi::Number>().DoubleValue();
        const double rows = static_cast<double>(state->sampler->latents().shape[0]);  // never changes
        if (!(row >= 0 && row < rows) || row != static_cast<double>(static_cast<int>(row))) {
            throw Error(ErrorCode::invalid_argument, "index must be a row of the batch");
        }
        return start(info.Env(), state, {}, [state, method, row](const JobContext & job) -> Completion {
            auto picture = std::make_shared<Picture>(make_preview(*state, method, static_cast<int>(row), job));
            return [picture](Napi::Env env) { return picture_to_js(env, *picture); };
        });
    });
}

Napi::Value SamplerWrap::dispose(const Napi::CallbackInfo & info) {
    let_go();
    return info.Env().Undefined();
}

}  // namespace latent::bindings
