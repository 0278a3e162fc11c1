#include "core/mapping_guard.h"

#include <atomic>

#ifndef _WIN32
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#endif

namespace latent {

namespace {
constexpr size_t most_mappings = 1024;
}

/// Read by the signal handler, so it has only lock-free atomics. `end` is 0 in a free slot.
struct MappingGuard::Slot {
    std::atomic<uintptr_t> begin, end;
    std::atomic<bool> lost;
};

MappingGuard::Slot MappingGuard::slots_[most_mappings] = {};

#ifdef _WIN32

MappingGuard::MappingGuard(const void *, size_t) {}
MappingGuard::~MappingGuard() = default;
bool MappingGuard::lost() const {
    return false;
}

#else

namespace {

static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free, "read by a signal handler");

struct BusHandling {
    std::mutex mutex;         // protects the next two
    size_t guards = 0;        // slots in use
    bool installed = false;   // our handler is installed, or called by the installed one
    struct sigaction before;  // the previous handler; set before ours can run
    uintptr_t page = 4096;
} bus;

/// Calls the previous handler. The default one ends the process when the instruction is repeated.
void pass_on(int signal, siginfo_t * info, void * context) {
    if (bus.before.sa_flags & SA_SIGINFO) {
        bus.before.sa_sigaction(signal, info, context);
    } else if (bus.before.sa_handler == SIG_DFL || bus.before.sa_handler == SIG_IGN) {
        struct sigaction end {};
        end.sa_handler = SIG_DFL;
        sigemptyset(&end.sa_mask);
        sigaction(signal, &end, nullptr);
        if (info->si_code <= 0) raise(signal);  // sent by kill(): no instruction will raise it again
    } else {
        bus.before.sa_handler(signal);
    }
}

}  // namespace

struct MappingGuardHandler {
    /// Maps zeros from the page of the fault to the end of the mapping, all of which a shortened file lacks.
    static bool replace(uintptr_t address) {
        for (MappingGuard::Slot & slot : MappingGuard::slots_) {
            const uintptr_t end = slot.end.load();
            if (address >= end || address < slot.begin.load()) continue;
            const uintptr_t page = address / bus.page * bus.page;
            void * zeros =
                mmap(reinterpret_cast<void *>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (zeros == MAP_FAILED) return false;
            slot.lost.store(true);
            return true;
        }
        return false;
    }

    static void handle(int signal, siginfo_t * info, void * context) {
        const int error = errno;
        const bool fault = info->si_code > 0;  // not sent by kill()
        if (!fault || !replace(reinterpret_cast<uintptr_t>(info->si_addr))) pass_on(signal, info, context);
        errno = error;
    }
};

namespace {

void install_bus_handler() {
    if (const long size = sysconf(_SC_PAGESIZE); size > 0) bus.page = static_cast<uintptr_t>(size);
    struct sigaction ours {};
    ours.sa_sigaction = MappingGuardHandler::handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, nullptr, &bus.before) != 0) return;
    bus.installed = sigaction(SIGBUS, &ours, nullptr) == 0;
}

/// If another handler was installed over ours, it may call ours, so ours stays.
void uninstall_bus_handler() {
    struct sigaction now {};
    if (sigaction(SIGBUS, nullptr, &now) != 0 || !(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != MappingGuardHandler::handle)
        return;
    sigaction(SIGBUS, &bus.before, nullptr);
    bus.installed = false;
}

}  // namespace

MappingGuard::MappingGuard(const void * data, size_t bytes) {
    if (bytes == 0) return;
    const std::lock_guard<std::mutex> lock(bus.mutex);
    for (Slot & slot : slots_) {
        if (slot.end.load() != 0) continue;
        slot_ = &slot;
        break;
    }
    if (!slot_) return;
    if (!bus.installed) install_bus_handler();
    ++bus.guards;
    slot_->lost.store(false);
    slot_->begin.store(reinterpret_cast<uintptr_t>(data));
    slot_->end.store(reinterpret_cast<uintptr_t>(data) + bytes);
}

MappingGuard::~MappingGuard() {
    if (!slot_) return;
    const std::lock_guard<std::mutex> lock(bus.mutex);
    slot_->end.store(0);
    if (--bus.guards == 0) uninstall_bus_handler();
}

bool MappingGuard::lost() const {
    return slot_ && slot_->lost.load();
}

#endif

}  // namespace latent
