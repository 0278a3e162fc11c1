#pragma once

#include <memory>

#include "bindings/node_addon_api.h"
#include "bindings/pipeline_state.h"

namespace latent::bindings {

using ConditioningPtr = std::shared_ptr<const pipeline::Conditioning>;

/// NativeConditioning of the contract: the immutable result of encoding a model's inputs.
class ConditioningWrap : public Napi::ObjectWrap<ConditioningWrap> {
public:
    struct State {
        ConditioningPtr data;
        PipelinePtr owner;  // null if made from an array
    };

    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, State state);
    /// conditioningFrom() of the contract.
    static Napi::Value from(const Napi::CallbackInfo & info);
    /// A required argument of this class; nullptr for null and undefined if `optional`.
    static ConditioningPtr value_of(Napi::Value value, const char * name, bool optional = true);

    explicit ConditioningWrap(const Napi::CallbackInfo & info);
    void Finalize(Napi::BasicEnv env) override;

private:
    Napi::Value tokens(const Napi::CallbackInfo & info);
    Napi::Value dim(const Napi::CallbackInfo & info);
    Napi::Value truncated(const Napi::CallbackInfo & info);
    Napi::Value concat_shape(const Napi::CallbackInfo & info);
    Napi::Value class_label(const Napi::CallbackInfo & info);
    Napi::Value vector_dim(const Napi::CallbackInfo & info);
    Napi::Value read(const Napi::CallbackInfo & info);
    Napi::Value read_concat(const Napi::CallbackInfo & info);
    Napi::Value read_vector(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);
    Napi::Value copy(const Napi::CallbackInfo & info, const std::vector<float> & numbers, const char * what);
    void check() const;

    State state_;
    int64_t tokens_ = 0, dim_ = 0;
    size_t vector_dim_ = 0;
    bool truncated_ = false;
    int32_t class_label_ = -1;
    std::optional<std::array<int64_t, 4>> concat_shape_;
    ExternalMemory memory_;
};

}  // namespace latent::bindings
