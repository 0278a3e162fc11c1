#pragma once

#include <vector>

#include "cuda/cuda_api.h"
#include "cuda/pack.h"
#include "device_values.h"

// Random weights as files have them, their values by the definition of each type, and the same packed on the device.

namespace cuda_test {

struct StoredWeights {
    int type = 0, rows = 0, in = 0, taps = 1;
    std::vector<uint8_t> bytes;  // of the file
    std::vector<float> values;   // [rows][in][taps]

    static StoredWeights make(int type, int rows, int in, int taps, float scale, Numbers & numbers);
    /// Given numbers in float32, of a linear layer.
    static StoredWeights of(const std::vector<float> & values, int rows, int in);
};

struct PackedWeights {
    Bytes source, data, scales;
    latent::cuda::WeightView view;
};

template <typename T>
PackedWeights packed_weights(const StoredWeights & w) {
    using namespace latent::cuda;
    const WeightKind kind = kind_of_type(w.type);
    const int padded = padded8(w.in);
    PackedWeights p{Bytes(w.bytes.data(), w.bytes.size()),
                    Bytes(packed_bytes(kind, w.rows, padded, w.taps)),
                    Bytes(scale_bytes(kind, w.rows, int64_t{w.in} * w.taps)),
                    {}};
    pack_matrix<T>({p.source.data(), w.type, w.rows, w.in, w.taps, padded, p.data.data(), p.scales.data()}, nullptr);
    settle();
    p.view = {kind, p.data.data(), p.scales.data(), w.rows, padded, w.taps, w.in * w.taps / 32};
    return p;
}

}  // namespace cuda_test
