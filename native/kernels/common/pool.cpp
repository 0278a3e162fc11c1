#include "kernels/common/pool.h"

#include <chrono>

namespace latent::kernels {
namespace {

/// How long an idle worker polls for the next operation before it sleeps; operations of a graph follow each other faster than
/// this.
constexpr auto kPatience = std::chrono::microseconds(500);

}  // namespace

Pool::Pool(int threads) {
    if (threads > 1) workers_.reserve(static_cast<size_t>(threads - 1));
    try {
        for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::exception &) {
        // no thread or no memory for one: continue with fewer threads
    }
}

Pool::~Pool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        closing_ = true;
        announced_.store(UINT64_MAX);
    }
    wake_.notify_all();
    for (std::thread & worker : workers_) worker.join();
}

void Pool::take_parts() {
    for (;;) {
        const int i = next_.fetch_add(1);
        if (i >= count_) return;
        try {
            (*part_)(i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
    }
}

void Pool::work() {
    uint64_t seen = 0;
    for (;;) {
        const auto start = std::chrono::steady_clock::now();
        while (announced_.load() == seen && std::chrono::steady_clock::now() - start < kPatience) std::this_thread::yield();
        {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return closing_ || round_ != seen; });
            if (closing_) return;
            seen = round_;
            if (seen % 2 == 0) continue;  // that operation is over
            busy_.fetch_add(1);
        }
        take_parts();
        busy_.fetch_sub(1);
    }
}

void Pool::run(int count, const std::function<void(int)> & part) {
    if (count <= 1 || workers_.empty()) {
        for (int i = 0; i < count; ++i) part(i);
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        part_ = &part;
        count_ = count;
        next_.store(0);
        failure_ = nullptr;
        announced_.store(++round_);
    }
    wake_.notify_all();
    take_parts();
    {
        // From here no worker can join; those inside finish their current part.
        const std::lock_guard<std::mutex> lock(mutex_);
        announced_.store(++round_);
    }
    while (busy_.load() != 0) std::this_thread::yield();
    if (failure_) std::rethrow_exception(failure_);
}

}  // namespace latent::kernels
