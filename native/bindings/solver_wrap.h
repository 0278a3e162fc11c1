#pragma once

#include <memory>

#include "bindings/node_addon_api.h"
#include "bindings/requests.h"

namespace latent::bindings {

/// NativeSolver of the contract: a solver without a network, on the caller's arrays. Evaluations run in order, each once.
class SolverWrap : public Napi::ObjectWrap<SolverWrap> {
public:
    class State;  // after construction, used only by the queue's thread

    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, const SolverRequest & request);
    explicit SolverWrap(const Napi::CallbackInfo & info);

private:
    Napi::Value info_json(const Napi::CallbackInfo & info);
    Napi::Value scale_input(const Napi::CallbackInfo & info);
    Napi::Value step(const Napi::CallbackInfo & info);

    std::shared_ptr<State> state_;
    std::string info_;
};

}  // namespace latent::bindings
