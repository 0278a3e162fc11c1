#pragma once

#include <functional>
#include <memory>

namespace latent::bindings {

/// A thread with a stack of 8 MiB. std::thread takes the system's default, which on macOS and musl is too small for the depth
/// that building a graph recurses to.
class Thread {
public:
    /// Throws out_of_memory when the system gives no thread.
    explicit Thread(std::function<void()> body);
    ~Thread();  // joins
    Thread(const Thread &) = delete;
    Thread & operator=(const Thread &) = delete;
    void join();

private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
};

}  // namespace latent::bindings
