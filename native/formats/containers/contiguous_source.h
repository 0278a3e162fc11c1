#pragma once

#include <vector>

#include "core/mapped_file.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// A mapped file whose tensors all lie contiguously, little-endian, at known offsets: safetensors and GGUF.
class ContiguousSource : public TensorSource {
public:
    Span<const uint8_t> view(const TensorInfo & tensor) const override;
    void read(const TensorInfo & tensor, void * destination) const override;
    std::vector<FileRange> places(const TensorInfo & tensor) const override;
    void check_files() const override { file_->check(); }

protected:
    explicit ContiguousSource(MappedFilePtr file);
    /// `offsets` are absolute, one per tensor; every range must have been checked against the size of the file.
    void set_layout(std::vector<TensorInfo> tensors, std::vector<uint64_t> offsets);
    MappedFilePtr file_;

private:
    std::vector<uint64_t> offsets_;
};

}  // namespace latent::formats
