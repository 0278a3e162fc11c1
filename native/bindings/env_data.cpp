#include "bindings/env_data.h"

#include <cstring>

#include "bindings/logging.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr size_t copied_elsewhere = size_t{1} << 16;  // bytes; copying fewer is faster than waking another thread

void check(napi_env env, napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env);
}

Napi::FunctionReference global_constructor(Napi::Env env, const char * name) {
    return Napi::Persistent(env.Global().Get(name).As<Napi::Function>());
}

}  // namespace

EnvData::EnvData(Napi::Env env)
    : env_(env),
      float_array_(global_constructor(env, "Float32Array")),
      byte_array_(global_constructor(env, "Uint8Array")),
      integer_array_(global_constructor(env, "Int32Array")) {
    // Created before the cleanup hook is added: hooks run in reverse order, so all threads have ended when Node closes this
    // function.
    check(env, napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "latent"), 0, 1, nullptr, nullptr,
                                               this, &EnvData::wake, &wake_));
    check(env, napi_unref_threadsafe_function(env, wake_));
    mailbox_->open(wake_);
    check(env, napi_add_env_cleanup_hook(
                   env, [](void * data) { static_cast<EnvData *>(data)->shutdown(); }, this));
}

EnvData::~EnvData() {
    shutdown();
}

EnvData & EnvData::of(Napi::Env env) {
    auto * data = env.GetInstanceData<EnvData>();
    if (!data) throw Napi::Error::New(env, "The engine is not initialised in this environment");
    return *data;
}

void EnvData::shutdown() {
    if (closed_) return;
    closed_ = true;
    remove_log_listener(mailbox_.get());
    // Signal all before waiting for the first.
    for (auto & [id, pending] : pending_) pending.job->cancel->cancel();
    for (auto & [key, queue] : queues_) queue->stop();
    mailbox_->close();
    pending_.clear();
}

std::shared_ptr<JobQueue> EnvData::queue(const std::string & key) {
    std::shared_ptr<JobQueue> & queue = queues_[key];
    if (!queue) queue = std::make_shared<JobQueue>(mailbox_);
    return queue;
}

JobPtr EnvData::new_job(const StartOptions & options) {
    if (closed_) throw Error(ErrorCode::disposed, "The engine is shutting down with its thread or process");
    auto job = std::make_shared<Job>();
    job->id = ++last_id_;
    job->cancellable = options.cancellable;
    job->wants_progress = !options.callbacks.on_progress.IsEmpty();
    job->wants_preview = !options.callbacks.on_preview.IsEmpty();
    return job;
}

Napi::Object EnvData::keep(const JobPtr & job, const std::shared_ptr<JobQueue> & queue, StartOptions options) {
    const Napi::Env env(env_);
    const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
    Napi::Object result = Napi::Object::New(env);
    result.Set("promise", deferred.Promise());
    result.Set("cancel", Napi::Function::New(
                             env,
                             [id = job->id](const Napi::CallbackInfo & info) {
                                 guarded(info.Env(), [&] { EnvData::of(info.Env()).cancel(info.Env(), id); });
                             },
                             "cancel"));
    if (pending_.empty()) napi_ref_threadsafe_function(env_, wake_);
    pending_.emplace(job->id, Pending{job,
                                      queue,
                                      deferred,
                                      std::move(options.callbacks),
                                      std::move(options.on_settled),
                                      std::move(options.held),
                                      std::nullopt,
                                      {}});
    return result;
}

Napi::Value EnvData::start(const std::shared_ptr<JobQueue> & queue, StartOptions options, Work work) {
    const JobPtr job = new_job(options);
    job->work = std::move(work);
    queue->push(job);
    return keep(job, queue, std::move(options));
}

Napi::Value EnvData::start_group(const std::shared_ptr<JobQueue> & queue, std::vector<StartOptions> options, GroupWork work) {
    std::vector<JobPtr> jobs;
    for (const StartOptions & each : options) jobs.push_back(new_job(each));
    queue->push(jobs, std::move(work));
    Napi::Array results = Napi::Array::New(Napi::Env(env_), jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
        results.Set(static_cast<uint32_t>(i), keep(jobs[i], queue, std::move(options[i])));
    }
    return results;
}

EnvData::Pending EnvData::take(Napi::Env env, std::unordered_map<uint64_t, Pending>::iterator it) {
    Pending pending = std::move(it->second);
    pending_.erase(it);
    if (pending_.empty()) napi_unref_threadsafe_function(env, wake_);
    if (pending.on_settled) pending.on_settled();
    return pending;
}

void EnvData::cancel(Napi::Env env, uint64_t id) {
    const auto it = pending_.find(id);
    if (it == pending_.end() || !it->second.job->cancellable) return;
    it->second.job->cancel->cancel();
    if (!it->second.queue->remove(it->second.job)) return it->second.queue->cancelled();  // running: the token stops it
    const Pending pending = take(env, it);
    pending.queue->release(std::make_shared<Work>(std::move(pending.job->work)));
    pending.deferred.Reject(pending.callback_error ? pending.callback_error->Value() : to_js(env, aborted_error()).Value());
}

void EnvData::wake(napi_env raw, napi_value, void * context, void *) {
    if (raw == nullptr) return;  // the environment is closing
    auto * self = static_cast<EnvData *>(context);
    const Napi::Env env(raw);
    for (Event & event : self->mailbox_->take()) {
        const Napi::HandleScope scope(env);
        try {
            self->deliver(env, event);
        } catch (const Napi::Error &) {
            // JavaScript is being terminated: nothing can be delivered.
        } catch (...) {
        }
    }
}

void EnvData::deliver(Napi::Env env, Event & event) {
    if (auto * progress = std::get_if<ProgressEvent>(&event)) deliver_progress(env, *progress);
    if (auto * preview = std::get_if<PreviewEvent>(&event)) deliver_preview(env, *preview);
    if (auto * finished = std::get_if<FinishedEvent>(&event)) finish(env, *finished);
    if (auto * message = std::get_if<LogEvent>(&event)) deliver_log(env, *message);
}

void EnvData::call_back(Napi::Env env, Pending & pending, const Napi::FunctionReference & callback,
                        const std::vector<napi_value> & arguments) {
    const uint64_t id = pending.job->id;
    try {
        callback.Call(arguments);
    } catch (const Napi::Error & error) {
        const auto it = pending_.find(id);  // the callback may have cancelled its own job
        if (it == pending_.end() || it->second.callback_error || error.IsEmpty()) return;
        it->second.callback_error = error;
        cancel(env, id);
    }
}

void EnvData::deliver_progress(Napi::Env env, const ProgressEvent & event) {
    const auto it = pending_.find(event.job);
    if (it == pending_.end() || it->second.callback_error) return;
    call_back(env, it->second, it->second.callbacks.on_progress,
              {Napi::String::New(env, phase_name(event.progress.phase)),
               Napi::Number::New(env, static_cast<double>(event.progress.step)),
               Napi::Number::New(env, static_cast<double>(event.progress.steps))});
}

void EnvData::deliver_preview(Napi::Env env, PreviewEvent & event) {
    const auto it = pending_.find(event.job);
    if (it == pending_.end() || it->second.callback_error) return;
    const Picture & picture = event.picture;
    call_back(env, it->second, it->second.callbacks.on_preview,
              {Napi::Number::New(env, event.step), Napi::Number::New(env, event.index), Napi::Number::New(env, picture.width),
               Napi::Number::New(env, picture.height), bytes_to_js(env, picture.data)});
}

void EnvData::finish(Napi::Env env, FinishedEvent & event) {
    const auto it = pending_.find(event.job);
    if (it == pending_.end()) return;
    const Pending pending = take(env, it);
    const bool aborted = pending.job->cancellable && pending.job->cancel->cancelled();
    if (pending.callback_error || aborted || event.error) {
        // A result that is not delivered (possibly a whole pipeline) is freed on the queue's thread.
        if (event.completion) pending.queue->release(std::make_shared<Completion>(std::move(event.completion)));
        if (pending.callback_error) return pending.deferred.Reject(pending.callback_error->Value());
        return pending.deferred.Reject(to_js(env, event.error ? *event.error : aborted_error()).Value());
    }
    try {
        resolve(env, pending, event.completion);
    } catch (const Napi::Error & error) {
        if (error.IsEmpty()) return;  // JavaScript is being terminated: nothing can be delivered
        pending.deferred.Reject(error.Value());
    } catch (...) {
        pending.deferred.Reject(to_js(env, describe(std::current_exception())).Value());
    }
}

void EnvData::resolve(Napi::Env env, const Pending & pending, Completion & completion) {
    if (!pending.result.IsEmpty()) return pending.deferred.Resolve(pending.result.Value());
    std::vector<Fill> fills;
    struct Filling {
        std::vector<Fill> *& current;
        ~Filling() { current = nullptr; }
    };
    const Filling filling{filling_};
    filling_ = &fills;
    const Napi::Value result = completion(env);
    if (fills.empty()) return pending.deferred.Resolve(result);
    resolve_when_filled(env, pending, result, std::move(fills), std::move(completion));
}

void EnvData::resolve_when_filled(Napi::Env env, const Pending & pending, Napi::Value result, std::vector<Fill> fills,
                                  Completion source) {
    auto job = std::make_shared<Job>();
    job->id = ++last_id_;
    job->cancellable = false;
    job->work = [fills = std::move(fills), source = std::move(source)](const JobContext &) -> Completion {
        for (const Fill & one : fills) std::memcpy(one.to, one.from, one.bytes);
        return {};
    };
    Pending waiting{
        job, queue("arrays"), pending.deferred, {}, {}, {}, std::nullopt, Napi::Persistent(result.As<Napi::Object>())};
    waiting.queue->push(job);
    if (pending_.empty()) napi_ref_threadsafe_function(env, wake_);
    pending_.emplace(job->id, std::move(waiting));
}

void EnvData::fill(void * to, const void * from, size_t bytes) {
    if (bytes == 0) return;
    if (filling_ && bytes >= copied_elsewhere) {
        filling_->push_back({to, from, bytes});
    } else {
        std::memcpy(to, from, bytes);
    }
}

void EnvData::set_logger(Napi::Value logger) {
    if (logger.IsNull() || logger.IsUndefined()) {
        remove_log_listener(mailbox_.get());
        logger_.Reset();
        return;
    }
    if (!logger.IsFunction()) throw ArgumentTypeError("setLogger takes a function or null");
    if (closed_) return;
    logger_ = Napi::Persistent(logger.As<Napi::Function>());
    add_log_listener(mailbox_);
}

void EnvData::deliver_log(Napi::Env env, const LogEvent & event) {
    if (logger_.IsEmpty()) return;
    // A logger that throws must not break the engine.
    try {
        logger_.Call({Napi::String::New(env, log_level_name(event.level)), Napi::String::New(env, event.message)});
    } catch (const Napi::Error &) {
    }
}

Napi::Value EnvData::new_array(Napi::Env env, napi_typedarray_type type, size_t length, void ** data) {
    Napi::FunctionReference * constructor = nullptr;
    if (type == napi_float32_array) constructor = &float_array_;
    if (type == napi_uint8_array) constructor = &byte_array_;
    if (type == napi_int32_array) constructor = &integer_array_;
    if (!constructor) throw Error(ErrorCode::internal, "arrays of this type are not supported");
    Napi::Value array = constructor->New({Napi::Number::New(env, static_cast<double>(length))});
    napi_typedarray_type made{};
    size_t made_length = 0;
    if (napi_get_typedarray_info(env, array, &made, &made_length, data, nullptr, nullptr) != napi_ok || made != type ||
        made_length != length) {
        throw Error(ErrorCode::internal, "JavaScript created an array of the wrong type or length");
    }
    return array;
}

}  // namespace latent::bindings
