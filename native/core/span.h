#pragma once

#include <cstddef>
#include <vector>

namespace latent {

/// A view of contiguous elements (std::span is C++20).
template <typename T>
class Span {
public:
    Span() = default;
    Span(T * data, size_t size) : data_(data), size_(size) {}
    template <typename U>
    Span(std::vector<U> & v) : data_(v.data()), size_(v.size()) {}
    template <typename U>
    Span(const std::vector<U> & v) : data_(v.data()), size_(v.size()) {}
    template <typename U>
    Span(const Span<U> & other) : data_(other.data()), size_(other.size()) {}

    T * data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T * begin() const { return data_; }
    T * end() const { return data_ + size_; }
    T & operator[](size_t i) const { return data_[i]; }
    Span subspan(size_t offset, size_t count) const { return {data_ + offset, count}; }

private:
    T * data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace latent
