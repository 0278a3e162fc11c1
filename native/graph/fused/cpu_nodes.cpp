#include "graph/fused/cpu_nodes.h"

namespace latent::graph {
namespace {

using kernels::Block;

/// One reader per block type: kernels do not depend on ggml, and a plain function pointer carries no type.
template <ggml_type kType>
void read_row(const void * row, float * out, int64_t k) {
    ggml_get_type_traits(kType)->to_float(row, out, k);
}

}  // namespace

kernels::Matrix stored_matrix(const ggml_tensor * w) {
    kernels::Matrix m;
    m.data = w->data;
    m.k = w->ne[0];
    m.rows = w->ne[1];
    m.row_bytes = static_cast<int64_t>(w->nb[1]);
    m.type = kernels::Element::other;
    m.block = ggml_blck_size(w->type);
    m.block_bytes = static_cast<int64_t>(ggml_type_size(w->type));
    switch (w->type) {
        case GGML_TYPE_F32: m.type = kernels::Element::f32; break;
        case GGML_TYPE_F16: m.type = kernels::Element::f16; break;
        case GGML_TYPE_BF16: m.type = kernels::Element::bf16; break;
        case GGML_TYPE_Q4_0: m.to_float = read_row<GGML_TYPE_Q4_0>, m.blocks = Block::q4_0; break;
        case GGML_TYPE_Q4_1: m.to_float = read_row<GGML_TYPE_Q4_1>; break;
        case GGML_TYPE_Q5_0: m.to_float = read_row<GGML_TYPE_Q5_0>, m.blocks = Block::q5_0; break;
        case GGML_TYPE_Q5_1: m.to_float = read_row<GGML_TYPE_Q5_1>; break;
        case GGML_TYPE_Q8_0: m.to_float = read_row<GGML_TYPE_Q8_0>, m.blocks = Block::q8_0; break;
        case GGML_TYPE_Q2_K: m.to_float = read_row<GGML_TYPE_Q2_K>; break;
        case GGML_TYPE_Q3_K: m.to_float = read_row<GGML_TYPE_Q3_K>; break;
        case GGML_TYPE_Q4_K: m.to_float = read_row<GGML_TYPE_Q4_K>, m.blocks = Block::q4_k; break;
        case GGML_TYPE_Q5_K: m.to_float = read_row<GGML_TYPE_Q5_K>, m.blocks = Block::q5_k; break;
        case GGML_TYPE_Q6_K: m.to_float = read_row<GGML_TYPE_Q6_K>, m.blocks = Block::q6_k; break;
        default: break;
    }
    return m;
}

}  // namespace latent::graph
