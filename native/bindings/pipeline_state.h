#pragma once

#include <memory>
#include <string>

#include "bindings/env_data.h"
#include "bindings/node_addon_api.h"
#include "pipeline/pipeline.h"

namespace latent::bindings {

/// State shared by a pipeline's JavaScript object, its jobs and everything created by it. `disposed` belongs to the JavaScript
/// thread; `engine` is used by the queue's thread, where the last job releases it after `disposed` was set.
struct PipelineState {
    std::shared_ptr<JobQueue> queue;
    std::shared_ptr<pipeline::Pipeline> engine;
    std::string info, tokenizer;
    bool disposed = false;

    /// Weights are freed on the queue's thread, whoever releases them last.
    ~PipelineState() {
        if (queue) queue->release(std::move(engine));
    }
    void check() const {
        if (disposed) throw Error(ErrorCode::disposed, "The pipeline has been disposed of");
    }
};

using PipelinePtr = std::shared_ptr<PipelineState>;

/// Keeps an engine for a job in another queue; acquired on the JavaScript thread, released on the pipeline's queue.
struct EngineLease {
    explicit EngineLease(PipelinePtr pipeline) : state(std::move(pipeline)), engine(state->engine) {}
    ~EngineLease() { state->queue->release(std::move(engine)); }
    EngineLease(const EngineLease &) = delete;
    EngineLease & operator=(const EngineLease &) = delete;

    PipelinePtr state;
    std::shared_ptr<pipeline::Pipeline> engine;
};

/// Reports native memory that a JavaScript object keeps alive to the garbage collector.
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

/// Creates an object of one of our classes with `state`. JavaScript cannot, because the constructors throw.
Napi::Object construct(Napi::Env env, Napi::FunctionReference & constructor, void * state, const napi_type_tag & tag);
/// In a constructor: the state passed by construct(). Throws a TypeError if JavaScript called the constructor.
void * take_constructing(const Napi::CallbackInfo & info);

}  // namespace latent::bindings
