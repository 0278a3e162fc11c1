#pragma once

#include <cstdint>
#include <string>

namespace latent {

/// Limits of the Linux control group that this process sees as the root, as a container does: version 2, else version 1. 0 if
/// there is none.
class ControlGroup {
public:
    explicit ControlGroup(std::string root = "/sys/fs/cgroup") : root_(std::move(root)) {}

    uint64_t memory_limit() const;  // bytes
    uint64_t memory_used() const;   // bytes
    /// Processors' worth of time per period, rounded up: at least 1 if there is a quota.
    int cpu_limit() const;

private:
    std::string root_;
};

}  // namespace latent
