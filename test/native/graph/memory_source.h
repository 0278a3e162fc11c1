#pragma once

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor_source.h"
#include "fixture.h"

/// Tensors in memory, float32 unless said otherwise. `mapped`: view() shows them in place, as a mapped file would.
class MemorySource : public latent::TensorSource {
public:
    explicit MemorySource(bool mapped = false) : mapped_(mapped) { name_ = "memory"; }

    void add(const std::string & name, std::vector<int64_t> shape, const std::vector<float> & values,
             latent::DType dtype = latent::DType::f32) {
        latent::TensorInfo info;
        info.name = name;
        info.shape = std::move(shape);
        info.dtype = dtype;
        std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(latent::dtype_block_bytes(dtype)));
        for (size_t i = 0; i < values.size(); ++i) {
            if (dtype == latent::DType::f32) {
                std::memcpy(bytes.data() + 4 * i, &values[i], 4);
            } else {
                const uint16_t half =
                    dtype == latent::DType::f16 ? latent::float_to_half(values[i]) : latent::float_to_bfloat(values[i]);
                std::memcpy(bytes.data() + 2 * i, &half, 2);
            }
        }
        info.bytes = bytes.size();
        infos_.push_back(info);
        bytes_.push_back(std::move(bytes));
    }

    /// Random values of unit variance times `scale`.
    std::vector<float> add_random(const std::string & name, std::vector<int64_t> shape, float scale,
                                  latent::DType dtype = latent::DType::f32) {
        size_t count = 1;
        for (const int64_t n : shape) count *= static_cast<size_t>(n);
        std::vector<float> values = fixture::formula(name, count);
        for (float & value : values) value *= scale;
        add(name, std::move(shape), values, dtype);
        return values;
    }

    void done() { set_tensors(std::move(infos_)); }

    latent::Span<const uint8_t> view(const latent::TensorInfo & info) const override {
        return mapped_ ? latent::Span<const uint8_t>(bytes_[info.index]) : latent::Span<const uint8_t>();
    }
    void read(const latent::TensorInfo & info, void * destination) const override {
        std::memcpy(destination, bytes_[info.index].data(), bytes_[info.index].size());
    }
    void advise(const latent::TensorInfo & info, latent::PageHint hint) const override {
        if (hint == latent::PageHint::release) released.push_back(info.name);
    }

    mutable std::vector<std::string> released;

private:
    bool mapped_;
    std::vector<latent::TensorInfo> infos_;
    std::vector<std::vector<uint8_t>> bytes_;
};
