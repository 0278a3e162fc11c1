#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "core/tensor_source.h"

namespace latent {

/// Reads weights into the system's page cache while other work goes on. Page faults of a computation read little at a time
/// (128 kB on many Linux systems) and wait for it; requests for whole tensors keep the disk busy. The memory of the process does
/// not grow.
class ReadAhead {
public:
    /// Tensors of one source, by index.
    struct Range {
        TensorSourcePtr source;
        std::vector<size_t> tensors;
    };

    ReadAhead() = default;
    ~ReadAhead() { stop(); }
    ReadAhead(const ReadAhead &) = delete;
    ReadAhead & operator=(const ReadAhead &) = delete;

    /// Asks for these tensors in this order, on a thread of its own; ends what was asked before. Asks for nothing if they take
    /// more than `available` bytes, because the first ones would be evicted again. Only a hint: never throws.
    void start(std::vector<Range> ranges, uint64_t available);
    /// Returns when nothing more will be asked for.
    void stop();

private:
    void read(const std::vector<Range> & ranges) const;

    std::atomic<bool> stopped_{false};
    std::thread thread_;
};

}  // namespace latent
