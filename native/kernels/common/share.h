#pragma once

namespace latent::kernels {

/// One thread's part of an operation that `threads` threads run (thread = 0 ... threads - 1), in any order and without
/// synchronisation.
struct Share {
    int thread = 0, threads = 1;
};

}  // namespace latent::kernels
