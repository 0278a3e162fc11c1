#pragma once

namespace latent::kernels {

/// What one thread does of an operation that is run by `threads` threads, thread = 0 ... threads - 1, in any order, without
/// synchronisation.
struct Share {
    int thread = 0, threads = 1;
};

}  // namespace latent::kernels
