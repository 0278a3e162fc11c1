#pragma once

#include <memory>

#include "bindings/node_addon_api.h"
#include "bindings/pipeline_state.h"

namespace latent::bindings {

/// A sampling loop shared by its JavaScript object, its live latents and its jobs. `pending` counts steps and previews that are
/// queued or running. It belongs to the JavaScript thread, which may use `sampler` while it is 0.
struct SamplerState {
    PipelinePtr pipeline;
    std::unique_ptr<pipeline::SamplingRun> sampler;
    int pending = 0;

    /// Throws busy while the queue's thread may be using it.
    void check_idle() const {
        if (pending > 0) throw Error(ErrorCode::busy, "These latents are being changed by a running step; await it first");
    }
};

using LatentsPtr = std::shared_ptr<const pipeline::Latents>;

/// The data of a JavaScript Latents object: independent values, or the live state of a sampling loop.
struct LatentsState {
    LatentsPtr data;                        // immutable: write() replaces it, jobs keep the old one
    std::shared_ptr<SamplerState> sampler;  // set instead of `data` for live latents
    PipelinePtr owner;                      // null if made from an array
};

/// NativeLatents of the contract.
class LatentsWrap : public Napi::ObjectWrap<LatentsWrap> {
public:
    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, LatentsState state);
    /// latentsFrom() of the contract.
    static Napi::Value from(const Napi::CallbackInfo & info);
    /// A required argument of this class; nullptr for null and undefined if `optional`. A job gets the current value.
    static LatentsPtr value_of(Napi::Value value, const char * name, bool optional = false);

    explicit LatentsWrap(const Napi::CallbackInfo & info);
    void Finalize(Napi::BasicEnv env) override;

private:
    Napi::Value shape(const Napi::CallbackInfo & info);
    Napi::Value location(const Napi::CallbackInfo & info);
    Napi::Value read(const Napi::CallbackInfo & info);
    Napi::Value write(const Napi::CallbackInfo & info);
    Napi::Value clone(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    Napi::Value start(Napi::Env env, EnvData::StartOptions options, Work work);
    void check() const;
    const pipeline::Latents & current() const;  // throws disposed or busy

    LatentsState state_;
    std::array<int64_t, 4> shape_{};
    bool disposed_ = false;
    ExternalMemory memory_;
};

}  // namespace latent::bindings
