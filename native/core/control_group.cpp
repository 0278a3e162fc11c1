#include "core/control_group.h"

#include <algorithm>
#include <fstream>

#include "core/path.h"

namespace latent {
namespace {

/// The number at the start of a file; 0 if it is "max", negative or missing: no limit.
uint64_t number_in(const std::string & file) {
    std::ifstream in(to_path(file));
    int64_t value = 0;
    return in >> value && value > 0 ? static_cast<uint64_t>(value) : 0;
}

}  // namespace

uint64_t ControlGroup::memory_limit() const {
    const uint64_t v2 = number_in(root_ + "/memory.max");
    const uint64_t limit = v2 ? v2 : number_in(root_ + "/memory/memory.limit_in_bytes");
    return limit >= (uint64_t{1} << 60) ? 0 : limit;  // version 1 reports a number close to 2^63 for no limit
}

uint64_t ControlGroup::memory_used() const {
    const uint64_t v2 = number_in(root_ + "/memory.current");
    return v2 ? v2 : number_in(root_ + "/memory/memory.usage_in_bytes");
}

int ControlGroup::cpu_limit() const {
    uint64_t quota = 0, period = 0;  // microseconds
    if (std::ifstream in(to_path(root_ + "/cpu.max")); !(in >> quota >> period)) {
        quota = number_in(root_ + "/cpu/cpu.cfs_quota_us");
        period = number_in(root_ + "/cpu/cpu.cfs_period_us");
    }
    if (quota == 0 || period == 0) return 0;
    return static_cast<int>(std::min<uint64_t>((quota - 1) / period + 1, 1 << 20));
}

}  // namespace latent
