#pragma once

#include <memory>

#include "bindings/node_addon_api.h"
#include "formats/tensor_reader.h"

namespace latent::bindings {

/// NativeTensors of the contract: the tensors of one file.
class TensorsWrap : public Napi::ObjectWrap<TensorsWrap> {
public:
    /// `reader` is used only by the queue for files.
    struct State {
        std::shared_ptr<formats::TensorReader> reader;
        std::vector<std::string> list;  // in pieces
        std::string metadata;
    };

    static Napi::Function define(Napi::Env env);
    /// openTensors() of the addon.
    static Napi::Value open(const Napi::CallbackInfo & info);
    explicit TensorsWrap(const Napi::CallbackInfo & info);

private:
    Napi::Value list(const Napi::CallbackInfo & info);
    Napi::Value metadata(const Napi::CallbackInfo & info);
    Napi::Value read(const Napi::CallbackInfo & info);
    void dispose(const Napi::CallbackInfo & info);
    const State & checked() const;

    std::shared_ptr<const State> state_;  // null if disposed of
};

}  // namespace latent::bindings
