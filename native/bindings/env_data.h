#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "bindings/job_queue.h"
#include "bindings/mailbox.h"
#include "bindings/node_addon_api.h"

namespace latent::bindings {

/// The functions a caller passed beside a request; empty references if there are none.
struct Callbacks {
    Napi::FunctionReference on_progress;
    Napi::FunctionReference on_preview;
};

/// The state of one environment (the main thread or a worker): its queues, unsettled promises, constructors and logger. Used on
/// the environment's JavaScript thread; other threads reach it only through the mailbox.
class EnvData {
public:
    explicit EnvData(Napi::Env env);
    ~EnvData();
    EnvData(const EnvData &) = delete;
    EnvData & operator=(const EnvData &) = delete;
    static EnvData & of(Napi::Env env);

    /// The queue of a device (or another resource), created at its first use.
    std::shared_ptr<JobQueue> queue(const std::string & key);

    struct StartOptions {
        Callbacks callbacks;
        bool cancellable = true;
        std::function<void()> on_settled;  // called on the JavaScript thread, however the job ends
        std::vector<Napi::ObjectReference> held;

        /// Keeps an object until the job has ended, so that the job may use an array's memory. The array must belong to this
        /// call: TypeScript created or copied it, so that nothing else changes or detaches it meanwhile.
        void hold(const Napi::Value & object) { held.push_back(Napi::Persistent(object.As<Napi::Object>())); }
    };
    /// Queues `work` and returns { promise, cancel }. The promise keeps the process alive until it settles.
    Napi::Value start(const std::shared_ptr<JobQueue> & queue, StartOptions options, Work work);
    /// Queues work for several jobs and returns an array with { promise, cancel } of each.
    Napi::Value start_group(const std::shared_ptr<JobQueue> & queue, std::vector<StartOptions> jobs, GroupWork work);

    /// Sets the logger, which receives the messages of the whole process; null: none.
    void set_logger(Napi::Value logger);

    /// Cancels all work and waits for the threads; unsettled promises stay unsettled. Called when the environment or the process
    /// ends.
    void shutdown();

    Napi::FunctionReference pipeline_class, latents_class, conditioning_class, sampler_class, solver_class, tensors_class;
    /// The state for a constructor that we call; null when JavaScript calls it.
    void * constructing = nullptr;

    /// Creates an array of `length` elements with JavaScript's constructor, which throws if memory is short.
    Napi::Value new_array(Napi::Env env, napi_typedarray_type type, size_t length, void ** data);
    /// Copies into such an array. In a completion, large copies are deferred to another thread before the promise is resolved:
    /// `from` must live as long as the completion.
    void fill(void * to, const void * from, size_t bytes);

private:
    struct Pending {
        JobPtr job;
        std::shared_ptr<JobQueue> queue;
        Napi::Promise::Deferred deferred;
        Callbacks callbacks;
        std::function<void()> on_settled;
        std::vector<Napi::ObjectReference> held;
        std::optional<Napi::Error> callback_error;  // the first one thrown
        Napi::ObjectReference result;               // result of a job that only fills its arrays
    };
    struct Fill {
        void * to;
        const void * from;
        size_t bytes;
    };

    JobPtr new_job(const StartOptions & options);
    /// Remembers a queued job until it settles; returns { promise, cancel }.
    Napi::Object keep(const JobPtr & job, const std::shared_ptr<JobQueue> & queue, StartOptions options);
    static void wake(napi_env env, napi_value, void * context, void *);
    void deliver(Napi::Env env, Event & event);
    void deliver_progress(Napi::Env env, const ProgressEvent & event);
    void deliver_preview(Napi::Env env, PreviewEvent & event);
    void deliver_log(Napi::Env env, const LogEvent & event);
    void call_back(Napi::Env env, Pending & pending, const Napi::FunctionReference & callback,
                   const std::vector<napi_value> & arguments);
    void finish(Napi::Env env, FinishedEvent & event);
    void resolve(Napi::Env env, const Pending & pending, Completion & completion);
    void resolve_when_filled(Napi::Env env, const Pending & pending, Napi::Value result, std::vector<Fill> fills,
                             Completion source);
    void cancel(Napi::Env env, uint64_t id);
    Pending take(Napi::Env env, std::unordered_map<uint64_t, Pending>::iterator it);

    napi_env env_;
    napi_threadsafe_function wake_ = nullptr;
    std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
    std::map<std::string, std::shared_ptr<JobQueue>> queues_;
    std::unordered_map<uint64_t, Pending> pending_;
    uint64_t last_id_ = 0;
    Napi::FunctionReference float_array_, byte_array_, integer_array_;
    Napi::FunctionReference logger_;
    std::vector<Fill> * filling_ = nullptr;  // while a completion runs
    bool closed_ = false;
};

/// Runs the body of a function called by JavaScript and turns its exceptions into JavaScript errors.
template <typename Body>
auto guarded(Napi::Env env, Body && body) -> decltype(body()) {
    try {
        return body();
    } catch (const Napi::Error &) {
        throw;
    } catch (...) {
        throw to_js(env, describe(std::current_exception()));
    }
}

}  // namespace latent::bindings
