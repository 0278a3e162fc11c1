#include "formats/containers/contiguous_source.h"

#include <cstring>

#include "core/path.h"
#include "formats/containers/bytes.h"

namespace latent::formats {

std::string shown(std::string_view text) {
    constexpr size_t longest = 120;
    std::string result;
    for (const char c : text.substr(0, longest)) result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return text.size() > longest ? result + "..." : result;
}

ContiguousSource::ContiguousSource(MappedFilePtr file) : file_(std::move(file)) {
    name_ = file_name(file_->path());
}

void ContiguousSource::set_layout(std::vector<TensorInfo> tensors, std::vector<uint64_t> offsets) {
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (!file_->contains(offsets[i], tensors[i].bytes)) {
            broken(name_,
                   "the tensor \"" + shown(tensors[i].name) + "\" lies beyond the end of the file; it was probably cut off");
        }
    }
    offsets_ = std::move(offsets);
    set_tensors(std::move(tensors));
}

Span<const uint8_t> ContiguousSource::view(const TensorInfo & tensor) const {
    return {file_->data() + offsets_.at(tensor.index), static_cast<size_t>(tensor.bytes)};
}

void ContiguousSource::read(const TensorInfo & tensor, void * destination) const {
    const Span<const uint8_t> bytes = view(tensor);
    if (!bytes.empty()) std::memcpy(destination, bytes.data(), bytes.size());
}

std::vector<FileRange> ContiguousSource::places(const TensorInfo & tensor) const {
    return {{file_, offsets_.at(tensor.index), tensor.bytes}};
}

}  // namespace latent::formats
