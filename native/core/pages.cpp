#include "core/pages.h"

#include <new>
#include <utility>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
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

Pages::Pages(size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
    void * mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<uint8_t *>(mapped);
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

}  // namespace latent
