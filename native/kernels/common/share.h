#pragma once

namespace latent::kernels {

/// Parts of one operation, to be run by `threads` threads, thread = 0 ... threads - 1, in any order, without synchronisation.
struct Part {
    int thread = 0, threads = 1;
};

}  // namespace latent::kernels
