#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/span.h"
#include "core/tensor_source.h"

namespace latent::formats {

// Reads numbers from untrusted bytes. Files are little-endian on every machine.

inline uint64_t load_le(const uint8_t * bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; ++i) value |= uint64_t{bytes[i]} << (8 * i);
    return value;
}
inline uint16_t load_u16(const uint8_t * bytes) {
    return static_cast<uint16_t>(load_le(bytes, 2));
}
inline uint32_t load_u32(const uint8_t * bytes) {
    return static_cast<uint32_t>(load_le(bytes, 4));
}
inline uint64_t load_u64(const uint8_t * bytes) {
    return load_le(bytes, 8);
}

/// False if the result does not fit 64 bits.
inline bool add_checked(uint64_t a, uint64_t b, uint64_t & sum) {
    sum = a + b;
    return sum >= a;
}
inline bool multiply_checked(uint64_t a, uint64_t b, uint64_t & product) {
    product = a * b;
    return a == 0 || product / a == b;
}

/// More axes than any layer of these networks has; limits the memory that a hostile shape can take.
constexpr size_t max_rank = 8;

/// More tensors than any model has; each description takes a few hundred bytes of memory.
constexpr size_t most_tensors = size_t{1} << 17;
/// Largest metadata that is kept: training logs and whole workflows fit. It takes a small multiple of this in memory.
constexpr uint64_t most_metadata_entries = uint64_t{1} << 14;
constexpr uint64_t most_metadata_bytes = uint64_t{16} << 20;

/// Bytes of a contiguous tensor. False on negative sizes, overflow, too many axes, or a last axis that is no multiple of the
/// block. Element counts stay below 2^63 even where another axis is 0, so that strides can be computed without checks.
inline bool tensor_bytes(DType type, const std::vector<int64_t> & shape, uint64_t & bytes) {
    if (shape.size() > max_rank) return false;
    uint64_t bound = 1;
    bool empty = false;
    for (const int64_t size : shape) {
        if (size < 0) return false;
        if (size == 0) empty = true;
        if (!multiply_checked(bound, size == 0 ? 1 : static_cast<uint64_t>(size), bound)) return false;
    }
    const uint64_t block = static_cast<uint64_t>(dtype_block(type));
    const uint64_t last = shape.empty() ? 1 : static_cast<uint64_t>(shape.back());
    if (last % block != 0) return false;
    if (!multiply_checked(bound / (last == 0 ? 1 : block), static_cast<uint64_t>(dtype_block_bytes(type)), bytes)) return false;
    if (bytes > uint64_t{1} << 62 || bound > uint64_t{1} << 62) return false;
    if (empty) bytes = 0;
    return true;
}

[[noreturn]] inline void broken(const std::string & file, const std::string & what, const std::string & details = "{}") {
    throw Error(ErrorCode::model_format, file + ": " + what, details);
}

/// A name from a file, shortened and made printable for a message.
std::string shown(std::string_view text);

/// Reads bytes of a file in order; reading past the end throws model_format naming the file.
class ByteReader {
public:
    ByteReader(Span<const uint8_t> bytes, std::string file, uint64_t position = 0)
        : bytes_(bytes), file_(std::move(file)), position_(position) {}

    uint64_t position() const { return position_; }
    uint64_t left() const { return bytes_.size() - position_; }
    const std::string & file() const { return file_; }

    const uint8_t * take(uint64_t count) {
        if (count > left()) {
            broken(file_, "the header ends too early (" + std::to_string(count) + " bytes wanted at offset " +
                              std::to_string(position_) + ", " + std::to_string(left()) + " left)");
        }
        const uint8_t * at = bytes_.data() + position_;
        position_ += count;
        return at;
    }
    void skip(uint64_t count) { take(count); }
    uint8_t u8() { return *take(1); }
    uint16_t u16() { return load_u16(take(2)); }
    uint32_t u32() { return load_u32(take(4)); }
    uint64_t u64() { return load_u64(take(8)); }
    std::string_view text(uint64_t count) {
        const uint8_t * at = take(count);
        return {reinterpret_cast<const char *>(at), static_cast<size_t>(count)};
    }

private:
    Span<const uint8_t> bytes_;
    std::string file_;
    uint64_t position_;
};

}  // namespace latent::formats
