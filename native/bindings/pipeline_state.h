#pragma once

#include <memory>
#include <string>

#include "bindings/env_data.h"
#include "bindings/node_addon_api.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

/// What the JavaScript object of a pipeline, its jobs and everything made by it share. `disposed` belongs to the JavaScript
/// thread; `engine` is used by the queue's thread, and let go there by the last job after `disposed` was set.
struct PipelineState {
    std::shared_ptr<JobQueue> queue;
    std::shared_ptr<pipeline::Pipeline> engine;
    std::string info, tokenizer;
    bool disposed = false;

    /// Weights are freed on the queue's thread, whoever let go last.
    ~PipelineState() {
        if (queue) queue->release(std::move(engine));
    }
    void check() const {
        if (disposed) throw Error(ErrorCode::disposed, "The pipeline has been disposed of");
    }
};

using PipelinePtr = std::shared_ptr<PipelineState>;

/// Keeps an engine for a job of another queue; taken on the JavaScript thread. It is let go on the pipeline's own.
struct EngineLease {
    explicit EngineLease(PipelinePtr pipeline) : state(std::move(pipeline)), engine(state->engine) {}
    ~EngineLease() { state->queue->release(std::move(engine)); }
    EngineLease(const EngineLease &) = delete;
    EngineLease & operator=(const EngineLease &) = delete;

    PipelinePtr state;
    std::shared_ptr<pipeline::Pipeline> engine;
};

/// Native memory that a JavaScript object keeps alive, told to the garbage collector.
class ExternalMemory {
public:
    void set(Napi::BasicEnv env, size_t bytes) {
        const int64_t change = static_cast<int64_t>(bytes) - static_cast<int64_t>(bytes_);
        if (change != 0) Napi::MemoryManagement::AdjustExternalMemory(env, change);
        bytes_ = bytes;
    }

private:
    size_t bytes_ = 0;
};

/// Makes an object of one of our classes around `state`. JavaScript cannot: the constructors refuse.
Napi::Object construct(Napi::Env env, Napi::FunctionReference & constructor, void * state, const napi_type_tag & tag);
/// In a constructor: what construct() handed over. Throws a TypeError when JavaScript called it.
void * take_constructing(const Napi::CallbackInfo & info);

}  // namespace latent::bindings
