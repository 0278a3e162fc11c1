#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/path.h"
#include "core/tensor_source.h"

/// A path below test/fixtures/files.
inline std::string fixture(const std::string & name) {
    return latent::join_path(LATENT_FIXTURES "/files", name);
}

inline std::string fixture_bytes(const std::string & name) {
    return latent::read_text_file(fixture(name));
}

/// Every element as a double, exactly; Q8_0 is dequantised.
std::vector<double> tensor_values(const latent::TensorSource & source, const latent::TensorInfo & tensor);

/// Reads everything that a source offers: metadata, views, copies, conversions. Returns the bytes read.
uint64_t read_everything(const latent::TensorSource & source);
