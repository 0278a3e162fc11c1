#include "bindings/mailbox.h"

#include "bindings/node_addon_api.h"

namespace latent::bindings {
namespace {

constexpr size_t max_waiting_previews = 64;  // per job; above that, the newest replaces the previous one
constexpr size_t max_waiting_logs = 1000;
constexpr auto progress_interval = std::chrono::milliseconds(33);

template <typename T>
size_t count(const std::deque<Event> & events, uint64_t job) {
    size_t n = 0;
    for (const Event & event : events) {
        const T * same = std::get_if<T>(&event);
        if (same && same->job == job) ++n;
    }
    return n;
}

}  // namespace

void Mailbox::open(napi_threadsafe_function wake) {
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_ = wake;
}

void Mailbox::close() {
    std::deque<Event> dropped;  // freed outside the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_ = nullptr;
    dropped.swap(events_);
}

bool Mailbox::coalesce(Event & event) {
    if (const auto * progress = std::get_if<ProgressEvent>(&event)) {
        for (auto it = events_.rbegin(); it != events_.rend(); ++it) {
            auto * waiting = std::get_if<ProgressEvent>(&*it);
            if (!waiting || waiting->job != progress->job) continue;
            if (waiting->progress.phase != progress->progress.phase) return false;
            *waiting = *progress;
            return true;
        }
    } else if (auto * preview = std::get_if<PreviewEvent>(&event)) {
        if (count<PreviewEvent>(events_, preview->job) < max_waiting_previews) return false;
        for (auto it = events_.rbegin(); it != events_.rend(); ++it) {
            auto * waiting = std::get_if<PreviewEvent>(&*it);
            if (!waiting || waiting->job != preview->job || waiting->index != preview->index) continue;
            *waiting = std::move(*preview);
            return true;
        }
    } else if (std::holds_alternative<LogEvent>(event)) {
        return events_.size() >= max_waiting_logs;
    }
    return false;
}

void Mailbox::post(Event event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!wake_) return;
    if (!coalesce(event)) events_.push_back(std::move(event));
    if (awake_) return;
    awake_ = true;
    // Does not block: the function's queue is unlimited, and at most one call waits in it.
    if (napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking) == napi_closing) wake_ = nullptr;
}

std::deque<Event> Mailbox::take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    awake_ = false;
    std::deque<Event> events;
    events.swap(events_);
    return events;
}

void ProgressGate::pass(const Progress & progress) {
    held_.reset();
    last_ = Clock::now();
    out_(progress);
}

void ProgressGate::report(const Progress & progress) {
    if (phase_ != progress.phase) {
        flush();
        phase_ = progress.phase;
        pass(progress);
    } else if ((progress.steps > 0 && progress.step >= progress.steps) || Clock::now() - last_ >= progress_interval) {
        pass(progress);
    } else {
        held_ = progress;
    }
}

void ProgressGate::flush() {
    if (held_) pass(Progress(*held_));
}

}  // namespace latent::bindings
