#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/error.h"

namespace latent {

/// Set from any thread; read between steps, between graph nodes and in every long loop.
class CancelToken {
public:
    /// Has no effect after seal().
    void cancel() {
        State running = State::running;
        state_.compare_exchange_strong(running, State::cancelled, std::memory_order_relaxed);
    }
    bool cancelled() const { return state_.load(std::memory_order_relaxed) == State::cancelled; }
    /// Throws ErrorCode::aborted once cancelled.
    void check() const {
        if (cancelled()) throw Error(ErrorCode::aborted, "The operation was aborted");
    }
    /// Called before an effect that cannot be undone (renaming a finished file): throws aborted if cancelled; later cancel()
    /// calls have no effect.
    void seal() {
        State running = State::running;
        state_.compare_exchange_strong(running, State::sealed, std::memory_order_relaxed);
        check();
    }

private:
    enum class State { running, cancelled, sealed };
    std::atomic<State> state_{State::running};
};

enum class Phase { load, encode, sample, decode, convert };
const char * phase_name(Phase phase);

struct Progress {
    Phase phase = Phase::load;
    int64_t step = 0;   // finished units (steps, tiles, bytes)
    int64_t steps = 0;  // total units, 0 if unknown
};

/// An 8-bit image, rows top to bottom, interleaved.
struct Picture {
    int width = 0;
    int height = 0;
    int channels = 3;
    std::vector<uint8_t> data;
};

/// The caller's side of a long-running call. Callbacks run on the job's thread and must not throw.
struct JobContext {
    std::shared_ptr<CancelToken> cancel = std::make_shared<CancelToken>();
    std::function<void(const Progress &)> progress;
    std::function<void(int step, int index, Picture &&)> preview;  // index = image within the batch

    void check() const { cancel->check(); }
    void seal() const { cancel->seal(); }
    void report(Phase phase, int64_t step, int64_t steps) const {
        if (progress) progress({phase, step, steps});
    }
};

}  // namespace latent
