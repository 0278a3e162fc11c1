#include "core/weight_type.h"

namespace latent {
namespace {

constexpr DType targets[] = {DType::f32,  DType::f16,  DType::bf16, DType::q8_0, DType::q6_k,
                             DType::q5_k, DType::q5_0, DType::q4_k, DType::q4_0};

}  // namespace

Span<const DType> weight_types() {
    return {targets, sizeof(targets) / sizeof(targets[0])};
}

std::optional<DType> weight_type_named(const std::string & name) {
    for (const DType type : targets) {
        if (name == dtype_name(type)) return type;
    }
    return std::nullopt;
}

DType fitting_type(DType wanted, int64_t inner) {
    if (inner % dtype_block(wanted) == 0) return wanted;
    const DType smaller = wanted == DType::q6_k   ? DType::q8_0
                          : wanted == DType::q5_k ? DType::q5_0
                          : wanted == DType::q4_k ? DType::q4_0
                                                  : DType::f16;
    return inner % dtype_block(smaller) == 0 ? smaller : DType::f16;
}

DType running_type(DType stored, bool whole_rows) {
    switch (stored) {
        case DType::f32:
        case DType::f16:
        case DType::bf16: return stored;
        case DType::f8_e4m3:
        case DType::f8_e5m2: return DType::f16;
        case DType::q4_0:
        case DType::q4_1:
        case DType::q4_k: return whole_rows ? stored : DType::q5_0;
        case DType::q2_k:
        case DType::q3_k: return whole_rows ? stored : DType::q4_0;
        case DType::q5_0:
        case DType::q5_1:
        case DType::q8_0:
        case DType::q5_k:
        case DType::q6_k: return whole_rows ? stored : DType::q8_0;
        default: return dtype_is_quantised(stored) ? DType::q8_0 : DType::f32;
    }
}

DType weight_type(const Parameter & parameter, DType wanted) {
    if (parameter.least_bits == 32) return DType::f32;
    if (parameter.least_bits == 16) return dtype_is_quantised(wanted) ? DType::f16 : wanted;
    return fitting_type(wanted, parameter.inner());
}

}  // namespace latent
