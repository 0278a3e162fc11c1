#pragma once

#include <functional>
#include <memory>

namespace latent::bindings {

/// A thread with a stack of 8 MiB. std::thread uses the system's default, which on macOS and musl is too small for the recursion
/// of building a graph.
class Thread {
public:
    /// Throws out_of_memory if no thread can be started.
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
