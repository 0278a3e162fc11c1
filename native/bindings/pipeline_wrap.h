#pragma once

#include "bindings/node_addon_api.h"
#include "bindings/pipeline_state.h"

namespace latent::bindings {

/// NativePipeline of the contract. dispose() waits for queued work; once it is called, everything else throws disposed.
class PipelineWrap : public Napi::ObjectWrap<PipelineWrap> {
public:
    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, PipelinePtr state);
    /// loadPipeline(request, callbacks) of the addon.
    static Napi::Value load(const Napi::CallbackInfo & info);

    explicit PipelineWrap(const Napi::CallbackInfo & info);
    void Finalize(Napi::BasicEnv env) override;

private:
    Napi::Value info_json(const Napi::CallbackInfo & info);
    Napi::Value tokenizer(const Napi::CallbackInfo & info);
    Napi::Value encode_prompt(const Napi::CallbackInfo & info);
    Napi::Value encode_condition(const Napi::CallbackInfo & info);
    Napi::Value embed_images(const Napi::CallbackInfo & info);
    Napi::Value embed_text(const Napi::CallbackInfo & info);
    Napi::Value encode_image(const Napi::CallbackInfo & info);
    Napi::Value create_latents(const Napi::CallbackInfo & info);
    Napi::Value predict(const Napi::CallbackInfo & info);
    Napi::Value start_sampling(const Napi::CallbackInfo & info);
    Napi::Value decode(const Napi::CallbackInfo & info);
    Napi::Value encode_codes(const Napi::CallbackInfo & info);
    Napi::Value decode_codes(const Napi::CallbackInfo & info);
    Napi::Value loss(const Napi::CallbackInfo & info);
    Napi::Value set_adapters(const Napi::CallbackInfo & info);
    Napi::Value generate(const Napi::CallbackInfo & info);
    Napi::Value generate_together(const Napi::CallbackInfo & info);
    Napi::Value estimate(const Napi::CallbackInfo & info);
    Napi::Value memory_usage(const Napi::CallbackInfo & info);
    Napi::Value profile(const Napi::CallbackInfo & info);
    Napi::Value unload(const Napi::CallbackInfo & info);
    Napi::Value dispose(const Napi::CallbackInfo & info);

    const PipelinePtr & checked() const;  // throws disposed
    Napi::Value start(Napi::Env env, EnvData::StartOptions options, Work work);

    PipelinePtr state_;
    ExternalMemory memory_;
};

}  // namespace latent::bindings
