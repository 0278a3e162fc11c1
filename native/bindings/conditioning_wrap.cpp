#include "bindings/conditioning_wrap.h"

#include <algorithm>
#include <cmath>

#include "bindings/arguments.h"
#include "bindings/array_arguments.h"
#include "bindings/json_fields.h"
#include "bindings/latents_wrap.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag conditioning_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b02};

int32_t label_argument(const Napi::Value & value) {
    if (!value.IsNumber()) throw ArgumentTypeError("classLabel must be a number");
    const double label = value.As<Napi::Number>().DoubleValue();
    if (!(label >= -1 && label <= INT32_MAX) || label != std::floor(label)) {
        throw Error(ErrorCode::invalid_argument, "classLabel must be an integer of at least -1");
    }
    return static_cast<int32_t>(label);
}

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

Napi::Value ConditioningWrap::from(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData::StartOptions options;
        const Napi::Value given = argument(info, 0), label = argument(info, 3), vector = argument(info, 4);
        auto conditioning = std::make_shared<pipeline::Conditioning>();
        Later<std::vector<float>> tokens, numbers;
        if (!given.IsNull()) {
            const std::vector<int64_t> shape = sizes_argument(given, "shape");
            check_shape(shape, 3, "shape", floats(argument(info, 1), "data").size());
            if (shape[0] != 1) throw Error(ErrorCode::invalid_argument, "shape must be [1, tokens, dim]");
            conditioning->tokens = shape[1];
            conditioning->dim = shape[2];
            tokens = floats_later(argument(info, 1), "data", options);
        }
        const LatentsPtr concat = LatentsWrap::value_of(argument(info, 2), "concat", true);
        if (given.IsNull() && !concat) {
            throw Error(ErrorCode::invalid_argument, "conditioning needs tokens (shape and data) or channels (concat)");
        }
        if (!label.IsUndefined()) conditioning->class_label = label_argument(label);
        if (!vector.IsNull() && !vector.IsUndefined()) numbers = floats_later(vector, "vector", options);
        EnvData & env_data = EnvData::of(info.Env());
        return env_data.start(env_data.queue("arrays"), std::move(options), [=](const JobContext &) -> Completion {
            if (tokens) conditioning->data = tokens();
            if (concat) conditioning->concat = *concat;
            if (numbers) conditioning->vector = numbers();
            return [conditioning](Napi::Env env) { return make(env, {conditioning, nullptr}); };
        });
    });
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
        throw ArgumentTypeError(std::string(name) + " must be a conditioning object of the engine");
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

Napi::Value ConditioningWrap::copy(const Napi::CallbackInfo & info, const std::vector<float> & numbers, const char * what) {
    if (numbers.empty()) throw Error(ErrorCode::invalid_argument, std::string("This conditioning has no ") + what);
    EnvData & env_data = EnvData::of(info.Env());
    EnvData::StartOptions options;
    const Span<float> into = floats(argument(info, 0), "into", numbers.size());
    options.hold(argument(info, 0));
    return env_data.start(env_data.queue("arrays"), std::move(options),
                          [data = state_.data, &numbers, into](const JobContext &) -> Completion {  // `data` owns the values
                              std::copy(numbers.begin(), numbers.end(), into.begin());
                              return [](Napi::Env env) { return env.Undefined(); };
                          });
}

Napi::Value ConditioningWrap::read(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        return copy(info, state_.data->data, "tokens");
    });
}

Napi::Value ConditioningWrap::read_concat(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        static const std::vector<float> none;
        return copy(info, state_.data->concat ? state_.data->concat->data : none, "channels");
    });
}

Napi::Value ConditioningWrap::read_vector(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        check();
        return copy(info, state_.data->vector, "vector");
    });
}

Napi::Value ConditioningWrap::dispose(const Napi::CallbackInfo & info) {
    state_ = {};
    memory_.set(info.Env(), 0);
    return info.Env().Undefined();
}

}  // namespace latent::bindings
