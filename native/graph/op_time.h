#pragma once

#include <cstdint>
#include <string>

namespace latent::graph {

/// Time of one kind of operation, over all graphs that ran while profiling.
struct OpTime {
    std::string label;  // the operation and its sizes: "conv 3x3 320>320 64x64"; ggml's name for plain ggml operations
    int64_t calls = 0;
    double milliseconds = 0;  // of all calls
    double fastest = 0;       // milliseconds of the fastest call, least affected by other load
    double flops = 0;         // 2 per multiply-add; 0 for operations without a relevant number
    double bytes = 0;         // of operands and results, each once; 0 if they were not counted
};

}  // namespace latent::graph
