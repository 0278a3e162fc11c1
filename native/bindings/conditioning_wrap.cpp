#include "bindings/conditioning_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag conditioning_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b02};

}  // namespace

Napi::Function ConditioningWrap::define(Napi::Env env) {
    return DefineClass(
        env, "NativeConditioning",
        {InstanceAccessor<&ConditioningWrap::tokens>("tokens"), InstanceAccessor<&ConditioningWrap::dim>("dim"),
         InstanceAccessor<&ConditioningWrap::truncated>("truncated"),
         InstanceAccessor<&ConditioningWrap::concat_shape>("concatShape"),
         InstanceAccessor<&ConditioningWrap::class_label>("classLabel"),
         InstanceAccessor<&ConditioningWrap::vector_dim>("vectorDim"), InstanceMethod<&ConditioningWrap::read>("read"),
         InstanceMethod<&ConditioningWrap::read_concat>("readConcat"),
         InstanceMethod<&ConditioningWrap::read_vector>("readVector"), InstanceMethod<&ConditioningWrap::dispose>("dispose")});
}

Napi::Object ConditioningWrap::make(Napi::Env env, State state) {
    return construct(env, EnvData::of(env).conditioning_class, &state, conditioning_tag);
}

ConditioningWrap::ConditioningWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<State *>(take_constructing(info)))) {
    tokens_ = state_.data->tokens;
    dim_ = state_.data->dim;
    truncated_ = state_.data->truncated;
    class_label_ = state_.data->class_label;
    vector_dim_ = state_.data->vector.size();
    size_t numbers = state_.data->data.size() + vector_dim_;
    if (state_.data->concat) {
        concat_shape_ = state_.data->concat->shape;
        numbers += state_.data->concat->data.size();
    }
    memory_.set(info.Env(), numbers * sizeof(float));
}

void ConditioningWrap::Finalize(Napi::BasicEnv env) {
    memory_.set(env, 0);
}

ConditioningPtr ConditioningWrap::value_of(Napi::Value value, const char * name, bool optional) {
    if (optional && (value.IsNull() || value.IsUndefined())) return nullptr;
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&conditioning_tag)) {
        throw ArgumentTypeError(std::string(name) + " must be conditioning of the engine");
    }
    const ConditioningWrap & wrap = *Unwrap(value.As<Napi::Object>());
    wrap.check();
    return wrap.state_.data;
}

void ConditioningWrap::check() const {
    if (!state_.data) throw Error(ErrorCode::disposed, "This conditioning has been disposed of");
    if (state_.owner && state_.owner->disposed) {
        throw Error(ErrorCode::disposed, "The pipeline that this conditioning belongs to has been disposed of");
    }
}

Napi::Value ConditioningWrap::tokens(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), static_cast<double>(tokens_));
}

Napi::Value ConditioningWrap::dim(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), static_cast<double>(dim_));
}

Napi::Value ConditioningWrap::truncated(const Napi::CallbackInfo & info) {
    return Napi::Boolean::New(info.Env(), truncated_);
}

Napi::Value ConditioningWrap::concat_shape(const Napi::CallbackInfo & info) {
    if (!concat_shape_) return info.Env().Null();
    return shape_to_js(info.Env(), *concat_shape_);
}

Napi::Value ConditioningWrap::class_label(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), class_label_);
}

Napi::Value ConditioningWrap::vector_dim(const Napi::CallbackInfo & info) {
    return Napi::Number::New(info.Env(), static_cast<double>(vector_dim_));
}

Napi::Value ConditioningWrap::read(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        if (state_.data->data.empty()) throw Error(ErrorCode::invalid_argument, "This conditioning has no tokens");
        const Span<float> into = floats(argument(info, 0), "into", state_.data->data.size());
        std::copy(state_.data->data.begin(), state_.data->data.end(), into.begin());
        return info.Env().Undefined();
    });
}

Napi::Value ConditioningWrap::read_concat(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        if (!state_.data->concat) throw Error(ErrorCode::invalid_argument, "This conditioning has no channels");
        const std::vector<float> & data = state_.data->concat->data;
        const Span<float> into = floats(argument(info, 0), "into", data.size());
        std::copy(data.begin(), data.end(), into.begin());
        return info.Env().Undefined();
    });
}

Napi::Value ConditioningWrap::read_vector(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        const std::vector<float> & data = state_.data->vector;
        if (data.empty()) throw Error(ErrorCode::invalid_argument, "This conditioning has no vector");
        const Span<float> into = floats(argument(info, 0), "into", data.size());
        std::copy(data.begin(), data.end(), into.begin());
        return info.Env().Undefined();
    });
}

Napi::Value ConditioningWrap::dispose(const Napi::CallbackInfo & info) {
    state_ = {};
    memory_.set(info.Env(), 0);
    return info.Env().Undefined();
}

}  // namespace latent::bindings
