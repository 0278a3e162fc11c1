#pragma once

#include <node_api.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bindings/errors.h"
#include "core/job.h"
#include "core/log.h"

namespace Napi {
class Env;
class Value;
}  // namespace Napi

namespace latent::bindings {

/// Creates a job's result on the JavaScript thread.
using Completion = std::function<Napi::Value(Napi::Env)>;

struct ProgressEvent {
    uint64_t job = 0;
    Progress progress;
};

struct PreviewEvent {
    uint64_t job = 0;
    int step = 0;
    int index = 0;
    Picture picture;
};

/// The end of a job: `completion`, or `error`.
struct FinishedEvent {
    uint64_t job = 0;
    Completion completion;
    std::optional<ErrorInfo> error;
};

struct LogEvent {
    LogLevel level = LogLevel::info;
    std::string message;
};

using Event = std::variant<ProgressEvent, PreviewEvent, FinishedEvent, LogEvent>;

/// Delivers events from all threads to one environment's JavaScript thread, in order. Posting never blocks or fails; after
/// close() it does nothing, so threads need not know whether their environment still exists.
class Mailbox {
public:
    /// `wake` makes the JavaScript thread call take(); it is called from any thread, at most once before each take().
    void open(napi_threadsafe_function wake);
    void close();

    void post(Event event);
    /// Returns all waiting events.
    std::deque<Event> take();

private:
    bool coalesce(Event & event);  // merges it into a waiting event

    std::mutex mutex_;
    std::deque<Event> events_;
    napi_threadsafe_function wake_ = nullptr;
    bool awake_ = false;
};

/// Limits a job's progress to about 30 events a second. Used on the job's thread. The newest state that was held back is sent
/// when the phase changes and when the job ends, so that the last event of a phase always arrives.
class ProgressGate {
public:
    using Clock = std::chrono::steady_clock;
    explicit ProgressGate(std::function<void(const Progress &)> out) : out_(std::move(out)) {}
    void report(const Progress & progress);
    void flush();

private:
    void pass(const Progress & progress);
    std::function<void(const Progress &)> out_;
    std::optional<Progress> held_;
    std::optional<Phase> phase_;
    Clock::time_point last_{};
};

}  // namespace latent::bindings
