#pragma once

#include <cstddef>
#include <cstdint>

namespace latent {

/// Memory allocated in pages directly from the system and returned immediately when freed. Large temporary blocks would otherwise
/// stay with the allocator or fragment its heap.
class Pages {
public:
    Pages() = default;
    /// Bytes of a huge page. Blocks of this size or more consist of huge pages where the system allows them.
    static constexpr size_t huge = size_t{2} << 20;

    /// Zeroed. Throws std::bad_alloc.
    explicit Pages(size_t bytes);
    ~Pages() { reset(); }
    Pages(Pages && other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr, other.size_ = 0; }
    Pages & operator=(Pages && other) noexcept;

    uint8_t * data() { return data_; }
    const uint8_t * data() const { return data_; }
    size_t size() const { return size_; }
    explicit operator bool() const { return data_ != nullptr; }
    void reset();

    /// Transfers ownership of the block to the caller; give_back() frees it. For libraries that take a pointer and a function to
    /// free it.
    uint8_t * release();
    static void give_back(uint8_t * data, size_t bytes);
    /// Takes ownership of a block from release().
    static Pages adopt(uint8_t * data, size_t bytes);

private:
    uint8_t * data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace latent
