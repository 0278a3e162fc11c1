// Races between the threads of a kernel. Sources compiled with -fsanitize=thread call a function at every access to memory; in
// place of the sanitizer's library, those functions are here. In shared memory, two accesses of different threads to the same
// place between the same two barriers are a race if one of them writes, and so is any access while a cp.async to it is under way.
// In global memory the same holds for a whole launch, because threads of the engine do not exchange anything there. Vector
// accesses must be aligned. sync_warp() orders nothing here; no kernel relies on it.

#include <cstdint>
#include <map>
#include <vector>

#include "shim/host_device.h"
#include "shim/watch.h"

namespace {

using latent_host::fail;
using latent_host::running;

constexpr size_t kGrain = 2;  // bytes of the smallest value
constexpr uint64_t kMany = UINT64_MAX;

/// Who accessed two bytes last, and when. `copying`: since when a copy is under way; 0: none.
struct Cell {
    uint64_t writer = 0, reader = 0;
    uint32_t wrote = 0, read = 0, copying = 0;
};

/// An access at a time, between two events that order threads. Returns what is wrong with it.
const char * touch(Cell & cell, uint64_t thread, uint32_t now, bool write) {
    if (cell.wrote == now && cell.writer != thread)
        return write ? "two threads write the same place" : "a thread reads what another one writes";
    if (!write) {
        cell.reader = cell.read == now && cell.reader != thread ? kMany : thread;
        cell.read = now;
        return nullptr;
    }
    if (cell.read == now && cell.reader != thread) return "a thread writes what another one reads";
    cell.wrote = now, cell.writer = thread;
    return nullptr;
}

class Races final : public latent_host::Watch {
public:
    Races() { latent_host::watch() = this; }

    void allocated(void * p, size_t bytes) override { regions_[reinterpret_cast<uintptr_t>(p)] = {bytes, {}}; }
    void freed(void * p) override {
        regions_.erase(reinterpret_cast<uintptr_t>(p));
        for (auto & each : recent_) each = regions_.end();
    }
    void launched() override { ++launch_; }
    void block(const unsigned char * shared, size_t bytes) override {
        inside_ = shared != nullptr;
        shared_ = reinterpret_cast<uintptr_t>(shared), shared_bytes_ = bytes;
        if (cells_.size() < bytes / kGrain + 1) cells_.resize(bytes / kGrain + 1);
        begun_ = ++now_;
    }
    void barrier() override { ++now_; }
    void read(const void * p, size_t bytes) override { access(p, bytes, false); }
    void copy_issued(const void * to) override {
        access(to, 16, true);
        for (Cell * cell = first(to); cell < first(to) + 16 / kGrain; ++cell) cell->copying = now_;
    }
    void copy_done(const void * to) override {
        for (Cell * cell = first(to); cell < first(to) + 16 / kGrain; ++cell) cell->copying = 0;
        access(to, 16, true);
    }

    void access(const void * p, size_t bytes, bool write) {
        if (!inside_) return;
        const auto at = reinterpret_cast<uintptr_t>(p);
        if (at - shared_ < shared_bytes_) return in_shared(at, bytes, write);
        const latent_host::Running thread = running();
        if (at - reinterpret_cast<uintptr_t>(thread.stack) < thread.stack_bytes) return;
        in_global(at, bytes, write, thread.of_grid);
    }

private:
    struct Region {
        size_t bytes;
        std::vector<Cell> cells;
    };
    using Regions = std::map<uintptr_t, Region>;

    Cell * first(const void * p) { return &cells_[(reinterpret_cast<uintptr_t>(p) - shared_) / kGrain]; }

    void in_shared(uintptr_t at, size_t bytes, bool write) {
        if (at - shared_ + bytes > shared_bytes_) fail("an access runs over the end of shared memory");
        if (bytes <= 16 && at % bytes) fail("an access to shared memory is not aligned");
        const uint64_t thread = running().thread;
        for (size_t i = (at - shared_) / kGrain; i <= (at - shared_ + bytes - 1) / kGrain; ++i) {
            if (cells_[i].copying >= begun_) fail("shared memory: an access to the target of a copy that is under way");
            if (const char * problem = touch(cells_[i], thread, now_, write)) fail("shared memory: ", problem);
        }
    }

    void in_global(uintptr_t at, size_t bytes, bool write, uint64_t thread) {
        auto found = regions_.end();
        for (const auto & each : recent_) {
            if (each != regions_.end() && at - each->first < each->second.bytes) found = each;
        }
        if (found == regions_.end()) {
            found = regions_.upper_bound(at);
            if (found == regions_.begin() || at - (--found)->first >= found->second.bytes) return;  // a parameter
            recent_[next_++ % 4] = found;
        }
        Region & region = found->second;
        const size_t offset = at - found->first;
        if (offset + bytes > region.bytes) fail("an access runs over the end of device memory");
        if (bytes <= 16 && at % bytes) fail("an access to device memory is not aligned");
        if (region.cells.empty()) region.cells.resize(region.bytes / kGrain + 1);
        for (size_t i = offset / kGrain; i <= (offset + bytes - 1) / kGrain; ++i) {
            if (const char * problem = touch(region.cells[i], thread, launch_, write)) fail("device memory: ", problem);
        }
    }

    Regions regions_;
    Regions::iterator recent_[4] = {regions_.end(), regions_.end(), regions_.end(), regions_.end()};
    unsigned next_ = 0;
    std::vector<Cell> cells_;  // of the shared memory
    uintptr_t shared_ = 0;
    size_t shared_bytes_ = 0;
    uint32_t launch_ = 0, now_ = 0, begun_ = 0;
    bool inside_ = false;
};

Races & races() {
    static Races & only = *new Races();
    return only;
}
const bool watching = (races(), true);

}  // namespace

// What the compiler calls. Kernels run in one thread of the host at a time.
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

#define LATENT_ACCESS(bytes)                       \
    void __tsan_read##bytes(void * p) {            \
        races().access(p, bytes, false);           \
    }                                              \
    void __tsan_write##bytes(void * p) {           \
        races().access(p, bytes, true);            \
    }                                              \
    void __tsan_unaligned_read##bytes(void * p) {  \
        races().access(p, bytes, false);           \
    }                                              \
    void __tsan_unaligned_write##bytes(void * p) { \
        races().access(p, bytes, true);            \
    }
LATENT_ACCESS(1)
LATENT_ACCESS(2)
LATENT_ACCESS(4)
LATENT_ACCESS(8)
LATENT_ACCESS(16)
#undef LATENT_ACCESS

// Of shared pointers and static variables, in the engine's host code. Compilers differ in which they call.
#define LATENT_ATOMIC(bits, type)                                                                             \
    type __tsan_atomic##bits##_load(const volatile type * p, int) {                                           \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                          \
    }                                                                                                         \
    void __tsan_atomic##bits##_store(volatile type * p, type v, int) {                                        \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                             \
    }                                                                                                         \
    type __tsan_atomic##bits##_exchange(volatile type * p, type v, int) {                                     \
        return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                   \
    }                                                                                                         \
    type __tsan_atomic##bits##_fetch_add(volatile type * p, type v, int) {                                    \
        return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                    \
    }                                                                                                         \
    type __tsan_atomic##bits##_fetch_sub(volatile type * p, type v, int) {                                    \
        return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                    \
    }                                                                                                         \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type * p, type * expected, type v, int, int) { \
        return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
    }                                                                                                         \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type * p, type * expected, type v, int, int) {   \
        return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);         \
    }
LATENT_ATOMIC(8, unsigned char)
LATENT_ATOMIC(32, int)
LATENT_ATOMIC(64, long)
#undef LATENT_ATOMIC

void __tsan_read_range(void * p, unsigned long bytes) {
    races().access(p, bytes, false);
}
void __tsan_write_range(void * p, unsigned long bytes) {
    races().access(p, bytes, true);
}
}
