#pragma once

#include <ggml.h>

// What ggml's Metal backend (0.15.1) supports of the operations that our graphs use, on Apple silicon: its rules in a table,
// since no Mac runs these tests. An operation that is not here counts as missing.

inline bool metal_supports(const ggml_tensor * node) {
    const ggml_tensor *a = node->src[0], *b = node->src[1];
    const auto rows = [](const ggml_tensor * t) { return ggml_is_contiguous_rows(t); };
    const auto is_float = [](const ggml_tensor * t) { return t->type == GGML_TYPE_F32 || t->type == GGML_TYPE_F16; };
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE:
        case GGML_OP_REPEAT: return true;
        case GGML_OP_ADD:
        case GGML_OP_MUL: return rows(a) && rows(b) && a->type == GGML_TYPE_F32 && b->type == GGML_TYPE_F32;
        case GGML_OP_SCALE: return rows(a) && is_float(a);
        case GGML_OP_UNARY: {
            const ggml_unary_op kind = ggml_get_unary_op(node);
            return (kind == GGML_UNARY_OP_SILU || kind == GGML_UNARY_OP_GELU_ERF || kind == GGML_UNARY_OP_RELU ||
                    kind == GGML_UNARY_OP_SIGMOID) &&
                   rows(a) && is_float(a);
        }
        case GGML_OP_GLU: return ggml_get_glu_op(node) == GGML_GLU_OP_GEGLU_ERF && ggml_is_contiguous_1(a) && is_float(a);
        case GGML_OP_CONCAT: return a->type == GGML_TYPE_F32 && b->type == GGML_TYPE_F32;
        case GGML_OP_NORM:
        case GGML_OP_GROUP_NORM:
        case GGML_OP_SOFT_MAX: return rows(a);
        case GGML_OP_IM2COL: return ggml_is_contiguous(b) && b->type == GGML_TYPE_F32 && is_float(node);
        case GGML_OP_UPSCALE:
        case GGML_OP_POOL_2D: return a->type == GGML_TYPE_F32;
        case GGML_OP_PAD:  // at the end of each dimension, with zeros
            return node->op_params[0] == 0 && node->op_params[2] == 0 && node->op_params[4] == 0 && node->op_params[6] == 0 &&
                   node->op_params[8] == 0;
        case GGML_OP_MUL_MAT:
        case GGML_OP_GET_ROWS: return true;
        case GGML_OP_CPY:
        case GGML_OP_CONT: return a->type == GGML_TYPE_F32 && node->type == GGML_TYPE_F32;
        default: return false;
    }
}
