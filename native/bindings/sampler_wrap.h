#pragma once

#include <memory>

#include "bindings/latents_wrap.h"
#include "bindings/node_addon_api.h"

namespace latent::bindings {

/// NativeSampler of the contract. `latents` is the live state: it may be read and written between steps and throws busy during
/// one. It stays readable after the sampler's dispose(), until it or its pipeline is disposed of.
class SamplerWrap : public Napi::ObjectWrap<SamplerWrap> {
public:
    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, std::shared_ptr<SamplerState> state);

    explicit SamplerWrap(const Napi::CallbackInfo & info);
    ~SamplerWrap() override;

private:
    Napi::Value steps(const Napi::CallbackInfo & info);
    Napi::Value latents(const Napi::CallbackInfo & info);
    Napi::Value step(const Napi::CallbackInfo & info);
    Napi::Value preview(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    std::shared_ptr<SamplerState> checked() const;  // throws disposed
    void let_go();
    Napi::Value start(Napi::Env env, const std::shared_ptr<SamplerState> & state, Callbacks callbacks, Work work);

    std::shared_ptr<SamplerState> state_;  // null once disposed of
    int steps_ = 0;
    Napi::ObjectReference latents_;
};

}  // namespace latent::bindings
