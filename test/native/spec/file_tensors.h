#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "golden.h"

/// All tensors of a layout of a case as one float32 file has them, to be added to.
inline std::vector<golden::FileTensor> file_tensors(const golden::Case & c, const std::string & layout) {
    std::vector<golden::FileTensor> tensors;
    for (const latent::TensorInfo & key : golden::keys(c, layout)) {
        const golden::Values values = golden::weight(c, layout, key.name);
        golden::FileTensor tensor{key.name, latent::DType::f32, key.shape, {}};
        tensor.data.resize(values.data.size() * sizeof(float));
        if (!tensor.data.empty()) std::memcpy(tensor.data.data(), values.data.data(), tensor.data.size());
        tensors.push_back(std::move(tensor));
    }
    return tensors;
}
