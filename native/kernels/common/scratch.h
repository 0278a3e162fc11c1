#pragma once

#include <cstddef>

namespace latent::kernels {

/// Uses of a thread's scratch memory. Functions that call each other need different ones.
enum class Scratch {
    panels,
    side_panels,
    sums,
    weight_rows,
    float_row,
    zero_row,
    attention_head,
    attention_work,
    tile_rows,
    tile_columns,
    count
};

/// A growing buffer of this thread, one per use; 64-byte aligned, contents undefined. Freed with the thread. Not inline: kernels
/// of one instruction set call it.
void * scratch(Scratch use, size_t bytes);

}  // namespace latent::kernels
