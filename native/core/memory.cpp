#include "core/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "core/control_group.h"

#if defined(_WIN32)
#include <windows.h>
// psapi.h needs windows.h first
#include <psapi.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#else
#include <sys/resource.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#endif

namespace latent {
namespace {

#if defined(__linux__)
/// A line "Name:   123 kB" of a proc file, in bytes.
uint64_t proc_value(const char * file, const std::string & name) {
    std::ifstream in(file);
    std::string word;
    while (in >> word) {
        if (word == name) {
            uint64_t kilobytes = 0;
            return in >> kilobytes ? kilobytes * 1024 : 0;
        }
        in.ignore(4096, '\n');
    }
    return 0;
}
#endif

}  // namespace

uint64_t available_memory() {
#if defined(__linux__)
    uint64_t available = proc_value("/proc/meminfo", "MemAvailable:");
    const ControlGroup group;
    if (const uint64_t limit = group.memory_limit()) {
        // Page cache counts as used but is freed under pressure: a mapped model must not look like missing memory.
        const uint64_t used = group.memory_used();
        const uint64_t cache = std::min(used, proc_value("/proc/meminfo", "Cached:"));
        const uint64_t held = used - cache;
        available = std::min(available, limit > held ? limit - held : uint64_t{1});  // 0 would mean unknown
    }
    return available;
#elif defined(__APPLE__)
    vm_statistics64_data_t stats;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&stats), &count) != KERN_SUCCESS)
        return 0;
    return (static_cast<uint64_t>(stats.free_count) + stats.inactive_count + stats.purgeable_count) * vm_kernel_page_size;
#elif defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof(status);
    return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : 0;
#else
    return 0;
#endif
}

uint64_t total_memory() {
#if defined(__linux__)
    const uint64_t total = proc_value("/proc/meminfo", "MemTotal:"), limit = ControlGroup().memory_limit();
    return limit ? std::min(limit, total) : total;
#elif defined(__APPLE__)
    uint64_t total = 0;
    size_t size = sizeof(total);
    return sysctlbyname("hw.memsize", &total, &size, nullptr, 0) == 0 ? total : 0;
#elif defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof(status);
    return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : 0;
#else
    return 0;
#endif
}

uint64_t peak_resident_memory() {
#if defined(__linux__)
    return proc_value("/proc/self/status", "VmHWM:");
#elif defined(__APPLE__)
    rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<uint64_t>(usage.ru_maxrss) : 0;  // bytes on macOS
#elif defined(_WIN32)
    PROCESS_MEMORY_COUNTERS counters;
    return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof(counters)) ? counters.PeakWorkingSetSize : 0;
#else
    return 0;
#endif
}

void trim_heap() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

}  // namespace latent
