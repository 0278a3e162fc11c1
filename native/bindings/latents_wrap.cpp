#include "bindings/latents_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/array_arguments.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag latents_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b01};

}  // namespace

Napi::Function LatentsWrap::define(Napi::Env env) {
    return DefineClass(env, "NativeLatents",
                       {InstanceAccessor<&LatentsWrap::shape>("shape"), InstanceAccessor<&LatentsWrap::location>("location"),
                        InstanceMethod<&LatentsWrap::read>("read"), InstanceMethod<&LatentsWrap::write>("write"),
                        InstanceMethod<&LatentsWrap::clone>("clone"), InstanceMethod<&LatentsWrap::dispose>("dispose")});
}

Napi::Value LatentsWrap::from(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData & env_data = EnvData::of(info.Env());
        EnvData::StartOptions options;
        const Napi::Value given = argument(info, 1);
        const auto shape = shape4_argument(argument(info, 0), "shape", floats(given, "data").size());
        const auto data = floats_later(given, "data", options);
        return env_data.start(env_data.queue("arrays"), std::move(options), [shape, data](const JobContext &) -> Completion {
            auto latents = std::make_shared<pipeline::Latents>(pipeline::Latents{shape, data()});
            return [latents](Napi::Env env) { return make(env, {latents, nullptr, nullptr}); };
        });
    });
}

Napi::Object LatentsWrap::make(Napi::Env env, LatentsState state) {
    return construct(env, EnvData::of(env).latents_class, &state, latents_tag);
}

LatentsWrap::LatentsWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<LatentsState *>(take_constructing(info)))) {
    const pipeline::Latents & latents = state_.sampler ? state_.sampler->sampler->latents() : *state_.data;
    shape_ = latents.shape;
    memory_.set(info.Env(), latents.data.size() * sizeof(float));
}

void LatentsWrap::Finalize(Napi::BasicEnv env) {
    memory_.set(env, 0);
}

LatentsPtr LatentsWrap::value_of(Napi::Value value, const char * name, bool optional) {
    if (optional && (value.IsNull() || value.IsUndefined())) return nullptr;
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&latents_tag)) {
        throw ArgumentTypeError(std::string(name) + " must be a latents object of the engine");
    }
    const LatentsWrap & wrap = *Unwrap(value.As<Napi::Object>());
    wrap.check();
    if (wrap.state_.sampler) return std::make_shared<pipeline::Latents>(wrap.current());
    return wrap.state_.data;
}

void LatentsWrap::check() const {
    if (disposed_) throw Error(ErrorCode::disposed, "These latents have been disposed of");
    if (state_.owner && state_.owner->disposed) {
        throw Error(ErrorCode::disposed, "The pipeline that these latents belong to has been disposed of");
    }
}

const pipeline::Latents & LatentsWrap::current() const {
    check();
    if (!state_.sampler) return *state_.data;
    state_.sampler->check_idle();
    return state_.sampler->sampler->latents();
}

Napi::Value LatentsWrap::shape(const Napi::CallbackInfo & info) {
    return shape_to_js(info.Env(), shape_);
}

Napi::Value LatentsWrap::location(const Napi::CallbackInfo & info) {
    return Napi::String::New(info.Env(), "cpu");
}

/// Independent latents are copied on a separate thread, live ones in the queue of their loop, between its steps.
Napi::Value LatentsWrap::start(Napi::Env env, EnvData::StartOptions options, Work work) {
    EnvData & data = EnvData::of(env);
    return data.start(state_.sampler ? state_.sampler->pipeline->queue : data.queue("arrays"), std::move(options),
                      std::move(work));
}

Napi::Value LatentsWrap::read(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData::StartOptions options;
        const Span<float> into = floats(argument(info, 0), "into", current().data.size());
        options.hold(argument(info, 0));
        return start(info.Env(), std::move(options), [state = state_, into](const JobContext &) -> Completion {
            const std::vector<float> & data = state.sampler ? state.sampler->sampler->latents().data : state.data->data;
            std::copy(data.begin(), data.end(), into.begin());
            return [](Napi::Env env) { return env.Undefined(); };
        });
    });
}

Napi::Value LatentsWrap::write(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData::StartOptions options;
        floats(argument(info, 0), "from", current().data.size());
        const auto from = floats_later(argument(info, 0), "from", options);
        if (const auto sampler = state_.sampler) {
            ++sampler->pending;
            options.on_settled = [sampler] { --sampler->pending; };
            return start(info.Env(), std::move(options), [sampler, from](const JobContext &) -> Completion {
                const std::vector<float> values = from();
                std::copy(values.begin(), values.end(), sampler->sampler->latents().data.begin());
                return [](Napi::Env env) { return env.Undefined(); };
            });
        }
        options.hold(info.This());
        return start(info.Env(), std::move(options), [this, shape = shape_, from](const JobContext &) -> Completion {
            auto latents = std::make_shared<pipeline::Latents>(pipeline::Latents{shape, from()});
            return [this, latents](Napi::Env env) {
                check();
                state_.data = latents;
                return env.Undefined();
            };
        });
    });
}

Napi::Value LatentsWrap::clone(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        current();
        return start(info.Env(), {}, [state = state_](const JobContext &) -> Completion {
            // Independent latents are never changed, so the copy shares their data.
            const LatentsPtr copy =
                state.sampler ? std::make_shared<pipeline::Latents>(state.sampler->sampler->latents()) : state.data;
            return [copy, owner = state.owner](Napi::Env env) { return make(env, {copy, nullptr, owner}); };
        });
    });
}

Napi::Value LatentsWrap::dispose(const Napi::CallbackInfo & info) {
    disposed_ = true;
    state_ = {};
    memory_.set(info.Env(), 0);
    return info.Env().Undefined();
}

}  // namespace latent::bindings
