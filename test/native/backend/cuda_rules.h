#pragma once

#include <ggml.h>

// What ggml's CUDA backend (0.15.1) supports of the operations that our graphs use, and what its kernels assert beyond that: in a
// table, since these tests run without a GPU. An operation that is not here counts as missing.

inline bool cuda_supports(const ggml_tensor * node) {
    const ggml_tensor *a = node->src[0], *b = node->src[1];
    const auto is_float = [](const ggml_tensor * t) { return t->type == GGML_TYPE_F32 || t->type == GGML_TYPE_F16; };
    const auto is_short = [](const ggml_tensor * t) { return t->nb[0] == ggml_type_size(t->type); };
    const bool float32 = node->type == GGML_TYPE_F32 && (!a || a->type == GGML_TYPE_F32);
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE: return true;
        case GGML_OP_REPEAT: return is_float(a);
        case GGML_OP_ADD:
        case GGML_OP_MUL: return is_float(a) && is_float(b) && a->type == node->type && ggml_is_contiguous(node);
        case GGML_OP_SCALE: return float32 && ggml_is_contiguous(a);
        case GGML_OP_UNARY: return ggml_is_contiguous(a) && is_float(a) && a->type == node->type;
        case GGML_OP_GLU:
            return ggml_get_glu_op(node) == GGML_GLU_OP_GEGLU_ERF && ggml_is_contiguous_1(a) && is_short(a) && is_float(a) &&
                   ggml_is_contiguous(node);
        case GGML_OP_CONCAT: return float32 && b->type == GGML_TYPE_F32;
        case GGML_OP_NORM: return float32 && is_short(a);
        case GGML_OP_GROUP_NORM: return float32 && ggml_is_contiguous(a);
        case GGML_OP_SOFT_MAX: return float32 && ggml_is_contiguous(a) && (!b || is_float(b));
        case GGML_OP_IM2COL: return b->type == GGML_TYPE_F32 && is_float(node) && ggml_is_contiguous(b);
        case GGML_OP_UPSCALE:
        case GGML_OP_POOL_2D:
        case GGML_OP_PAD: return float32;
        case GGML_OP_MUL_MAT: return b->type == GGML_TYPE_F32 || (b->type == GGML_TYPE_F16 && a->type == GGML_TYPE_F16);
        case GGML_OP_GET_ROWS: return ggml_blck_size(a->type) <= 32 && a->ne[0] % 2 == 0 && is_short(a);
        case GGML_OP_CPY:
        case GGML_OP_CONT: return is_float(a) && is_float(node);
        default: return false;
    }
}
