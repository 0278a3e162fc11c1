#pragma once

#include <memory>

#include "bindings/node_addon_api.h"
#include "bindings/requests.h"

namespace latent::bindings {

/// NativeSolver of the contract: a solver without a network, on arrays of the caller. Evaluations are taken in order, each once.
class SolverWrap : public Napi::ObjectWrap<SolverWrap> {
public:
    struct State {
        std::unique_ptr<samplers::Solver> solver;
        SeededNoise noise;
    };

    static Napi::Function define(Napi::Env env);
    static Napi::Object make(Napi::Env env, const SolverRequest & request);
    explicit SolverWrap(const Napi::CallbackInfo & info);

private:
    Napi::Value info_json(const Napi::CallbackInfo & info);
    Napi::Value scale_input(const Napi::CallbackInfo & info);
    Napi::Value step(const Napi::CallbackInfo & info);

    size_t evaluation_argument(const Napi::CallbackInfo & info, size_t index) const;
    void check_length(size_t length);
    void prepare(Span<float> x, NoiseSource * own);

    State state_;
    size_t next_ = 0;                        // the evaluation whose output is waited for
    bool prepared_ = false;                  // its noise is drawn
    size_t length_ = 0;                      // of x, fixed by the first call
    std::vector<std::vector<float>> draws_;  // that noise
};

}  // namespace latent::bindings
