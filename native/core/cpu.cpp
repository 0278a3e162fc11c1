#include "core/cpu.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#if defined(__x86_64__) || defined(_M_X64)
#define LATENT_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(_WIN32)
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sched.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#else
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace latent {
namespace {

#if defined(LATENT_X86)
struct Registers {
    uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
    Registers r;
#if defined(_MSC_VER)
    int out[4];
    __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
    std::memcpy(&r, out, sizeof(r));
#else
    __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
    return r;
}

uint64_t enabled_state() {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

/// Linux gives the tile registers only to processes that ask for them. It refuses where a thread's alternate signal stack is too
/// small for them.
bool request_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

CpuFeatures detect() {
    CpuFeatures f;
    const auto bit = [](uint32_t value, int n) { return ((value >> n) & 1u) != 0; };
    const Registers zero = cpuid(0, 0);
    if (zero.a < 7) return f;
    const bool intel = zero.b == 0x756e6547;  // "Genu"
    const Registers one = cpuid(1, 0), seven = cpuid(7, 0);
    if (!bit(one.c, 27)) return f;  // OSXSAVE: without it the system does not save AVX state
    const uint64_t state = enabled_state();
    const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
    if (ymm) {
        f.avx2 = bit(one.c, 28) && bit(seven.b, 5);
        f.fma = bit(one.c, 12);
        f.f16c = bit(one.c, 29);
        f.bmi2 = bit(seven.b, 8);
    }
    if (zmm) {
        f.avx512 = bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);
        f.avx512_vnni = f.avx512 && bit(seven.c, 11);
    }
    if (seven.a >= 1) {
        const Registers more = cpuid(7, 1);
        f.avx_vnni = f.avx2 && bit(more.a, 4);
        // Its kernels also look up bytes (VBMI). Only Cooper Lake has BF16 without VBMI, and float32 is faster there.
        f.avx512_bf16 = f.avx512 && bit(more.a, 5) && bit(seven.c, 1);
        f.slow_avx512_bf16 = intel;
    }
    const bool tile_state = (state >> 17 & 3) == 3;
    if (f.avx512 && bit(seven.d, 24) && tile_state && request_tiles()) {
        f.amx_bf16 = bit(seven.d, 22);
        f.amx_int8 = bit(seven.d, 25);
    }
    return f;
}
#else
CpuFeatures detect() {
    CpuFeatures f;
    f.neon = true;
#if defined(__linux__) && defined(__aarch64__)
    const unsigned long capabilities = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    f.dotprod = (capabilities >> 20) & 1;  // HWCAP_ASIMDDP
    f.i8mm = (more >> 13) & 1;             // HWCAP2_I8MM
    f.bf16 = (more >> 14) & 1;             // HWCAP2_BF16
#elif defined(__APPLE__)
    const auto has = [](const char * name) {
        int value = 0;
        size_t size = sizeof(value);
        return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
    };
    f.dotprod = has("hw.optional.arm.FEAT_DotProd");
    f.i8mm = has("hw.optional.arm.FEAT_I8MM");
    f.bf16 = has("hw.optional.arm.FEAT_BF16");
#elif defined(_WIN32)
    f.dotprod = IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
    f.i8mm =
        IsProcessorFeaturePresent(66) != 0;  // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE; unknown to older systems, as the next one
    f.bf16 = IsProcessorFeaturePresent(68) != 0;  // PF_ARM_V86_BF16_INSTRUCTIONS_AVAILABLE
#endif
    return f;
}
#endif

#if defined(__linux__)
/// One entry per set of hardware threads that share a core, of the processors in this process's affinity mask.
int linux_cores() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return 0;
    std::set<std::string> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &mask)) continue;
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
        std::string siblings;
        if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
        cores.insert(siblings);
    }
    return static_cast<int>(cores.size());
}
#endif

}  // namespace

bool CpuFeatures::meets_floor() const {
#if defined(LATENT_X86)
    return avx2 && fma && f16c && bmi2;
#else
    return neon;
#endif
}

std::vector<std::string> CpuFeatures::names() const {
    std::vector<std::string> out;
    const auto add = [&](bool present, const char * name) {
        if (present) out.emplace_back(name);
    };
    add(avx2, "avx2"), add(fma, "fma"), add(f16c, "f16c"), add(bmi2, "bmi2"), add(avx_vnni, "avx_vnni");
    add(avx512, "avx512"), add(avx512_vnni, "avx512_vnni"), add(avx512_bf16, "avx512_bf16");
    add(amx_bf16, "amx_bf16"), add(amx_int8, "amx_int8");
    add(neon, "neon"), add(dotprod, "dotprod"), add(i8mm, "i8mm"), add(bf16, "bf16");
    return out;
}

const CpuFeatures & cpu_features() {
    static const CpuFeatures features = detect();
    return features;
}

std::string cpu_brand() {
#if defined(LATENT_X86)
    if (cpuid(0x80000000u, 0).a < 0x80000004u) return "x86-64";
    char text[49] = {};
    for (uint32_t i = 0; i < 3; ++i) {
        const Registers r = cpuid(0x80000002u + i, 0);
        std::memcpy(text + 16 * i, &r, 16);
    }
    const std::string brand(text);
    const size_t begin = brand.find_first_not_of(' ');
    return begin == std::string::npos ? "x86-64" : brand.substr(begin, brand.find_last_not_of(' ') - begin + 1);
#elif defined(__APPLE__)
    char text[128] = {};
    size_t size = sizeof(text) - 1;
    if (sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0) return text;
    return "arm64";
#else
    return "arm64";
#endif
}

int usable_cores(const ControlGroup & group) {
    int cores = 0;
#if defined(__linux__)
    cores = linux_cores();
#elif defined(__APPLE__)
    size_t size = sizeof(cores);
    if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) != 0) cores = 0;
#elif defined(_WIN32)
    DWORD bytes = 0;
    GetLogicalProcessorInformation(nullptr, &bytes);
    std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
    if (!entries.empty() && GetLogicalProcessorInformation(entries.data(), &bytes)) {
        cores = static_cast<int>(std::count_if(entries.begin(), entries.end(),
                                               [](const auto & e) { return e.Relationship == RelationProcessorCore; }));
    }
#endif
    if (cores < 1) cores = static_cast<int>(std::thread::hardware_concurrency());
    if (const int quota = group.cpu_limit()) cores = std::min(cores, quota);
    return std::max(1, cores);
}

}  // namespace latent
