#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "core/mapped_file.h"

namespace latent {

/// Reads weights into the system's page cache while other work goes on. The page faults of a computation read little at a time
/// (128 kB on many Linux systems) and wait for it. The memory of the process does not grow.
class ReadAhead {
public:
    ReadAhead() = default;
    ~ReadAhead() { stop(); }
    ReadAhead(const ReadAhead &) = delete;
    ReadAhead & operator=(const ReadAhead &) = delete;

    /// Reads these ranges in this order, on a thread of its own; ends what was begun before. Reads nothing if they take more than
    /// `available` bytes, because the first ones would be evicted again. Only a hint: never throws.
    void start(std::vector<FileRange> ranges, uint64_t available);
    /// Returns when no more is read.
    void stop();

private:
    void read(const std::vector<FileRange> & ranges) const;

    std::atomic<bool> stopped_{false};
    std::thread thread_;
};

}  // namespace latent
