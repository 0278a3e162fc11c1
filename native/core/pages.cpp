#include "core/pages.h"

#include <new>
#include <utility>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace latent {

#ifdef _WIN32

Pages::Pages(size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
    data_ = static_cast<uint8_t *>(VirtualAlloc(nullptr, bytes, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE));
    if (!data_) throw std::bad_alloc();
}

void Pages::give_back(uint8_t * data, size_t) {
    if (data) VirtualFree(data, 0, MEM_RELEASE);
}

#else

namespace {

void * map(size_t bytes) {
    void * mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return mapped;
}

#ifdef MADV_HUGEPAGE

/// Huge pages need an aligned address, so more is mapped than needed and the parts around the block are unmapped again.
void * map_huge(size_t bytes) {
    constexpr size_t huge = Pages::huge;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), size = (bytes + page - 1) / page * page;
    uint8_t * mapped = static_cast<uint8_t *>(map(size + huge));
    const size_t before = (huge - reinterpret_cast<uintptr_t>(mapped) % huge) % huge, after = huge - before;
    if (before > 0) munmap(mapped, before);
    if (after > 0) munmap(mapped + before + size, after);
    madvise(mapped + before, size, MADV_HUGEPAGE);  // a hint without effect if huge pages are disabled
    return mapped + before;
}

#endif

}  // namespace

Pages::Pages(size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
#ifdef MADV_HUGEPAGE
    // One page fault and one TLB entry per 2 MB instead of per 4 KB.
    data_ = static_cast<uint8_t *>(bytes >= huge ? map_huge(bytes) : map(bytes));
#else
    data_ = static_cast<uint8_t *>(map(bytes));
#endif
}

void Pages::give_back(uint8_t * data, size_t bytes) {
    if (data) munmap(data, bytes);
}

#endif

void Pages::reset() {
    const size_t bytes = size_;
    give_back(release(), bytes);
}

uint8_t * Pages::release() {
    size_ = 0;
    return std::exchange(data_, nullptr);
}

Pages & Pages::operator=(Pages && other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Pages Pages::adopt(uint8_t * data, size_t bytes) {
    Pages pages;
    pages.data_ = data, pages.size_ = bytes;
    return pages;
}

}  // namespace latent
