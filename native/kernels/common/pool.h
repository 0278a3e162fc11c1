#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace latent::kernels {

/// A thread pool that runs the parts of one operation at a time. Each running thread takes one part after the other, so a thread
/// that the system has suspended delays only its current part. On a busy machine the caller then does the work alone; a fixed
/// division with a spinning barrier would wait a time slice for every operation.
class Pool {
public:
    /// `threads` includes the caller of run(). If some cannot be started, the pool is smaller.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool &) = delete;
    Pool & operator=(const Pool &) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Runs part(0) ... part(count - 1), each once, and returns when all are done. Rethrows the first exception of a part after
    /// the others have ended. One caller at a time.
    void run(int count, const std::function<void(int)> & part);

private:
    void work();
    void take_parts();

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    uint64_t round_ = 0;  // number of the current operation; even while there is none
    bool closing_ = false;
    std::atomic<uint64_t> announced_{0};  // round_, readable without the lock

    const std::function<void(int)> * part_ = nullptr;
    int count_ = 0;
    std::atomic<int> next_{0};
    std::atomic<int> busy_{0};  // workers inside the operation
    std::exception_ptr failure_;
};

}  // namespace latent::kernels
