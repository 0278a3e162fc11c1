#pragma once

#include <cstdint>
#include <string>

namespace latent::graph {

/// What one kind of operation took, over all graphs that ran while a profile was on.
struct OpTime {
    std::string label;  // the operation and its sizes: "conv 3x3 320>320 64x64"; ggml's name for plain ggml operations
    int64_t calls = 0;
    double milliseconds = 0;  // of all calls
    double fastest = 0;       // milliseconds of the fastest call: what remains on a busy machine
    double flops = 0;         // 2 per multiply-add; 0 where operations have none to speak of
};

}  // namespace latent::graph
