#include "bindings/latents_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
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
        throw ArgumentTypeError(std::string(name) + " must be latents of the engine");
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

Napi::Value LatentsWrap::read(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const pipeline::Latents & latents = current();
        const Span<float> into = floats(argument(info, 0), "into", latents.data.size());
        std::copy(latents.data.begin(), latents.data.end(), into.begin());
        return info.Env().Undefined();
    });
}

Napi::Value LatentsWrap::write(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const pipeline::Latents & latents = current();
        const Span<float> from = floats(argument(info, 0), "from", latents.data.size());
        if (state_.sampler) {
            std::copy(from.begin(), from.end(), state_.sampler->sampler->latents().data.begin());
        } else {
            state_.data = std::make_shared<pipeline::Latents>(pipeline::Latents{shape_, {from.begin(), from.end()}});
        }
        return info.Env().Undefined();
    });
}

Napi::Value LatentsWrap::clone(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
        return make(info.Env(), {std::make_shared<pipeline::Latents>(current()), nullptr, state_.owner});
    });
}

Napi::Value LatentsWrap::dispose(const Napi::CallbackInfo & info) {
    disposed_ = true;
    state_ = {};
    memory_.set(info.Env(), 0);
    return info.Env().Undefined();
}

}  // namespace latent::bindings
