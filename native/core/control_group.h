#pragma once

#include <cstdint>
#include <string>

namespace latent {

/// Limits of the Linux control group that this process sees as its root, as in a container: version 2, else version 1. 0 if there
/// is no limit.
class ControlGroup {
public:
    explicit ControlGroup(std::string root = "/sys/fs/cgroup") : root_(std::move(root)) {}

    uint64_t memory_limit() const;  // bytes
    uint64_t memory_used() const;   // bytes
    /// CPU quota in processors, rounded up: at least 1 if there is a quota.
    int cpu_limit() const;

private:
    std::string root_;
};

}  // namespace latent
