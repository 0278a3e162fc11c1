#include "formats/containers/pickle_globals.h"

namespace latent::formats {

namespace {

struct Known {
    const char * module;
    const char * name;
    GlobalKind kind;
};

constexpr Known known_globals[] = {
    {"collections", "OrderedDict", GlobalKind::ordered_dict},
    {"builtins", "dict", GlobalKind::ordered_dict},
    {"__builtin__", "dict", GlobalKind::ordered_dict},
    {"torch.nn.modules.container", "ParameterDict", GlobalKind::parameter_dict},
    {"torch._utils", "_rebuild_tensor", GlobalKind::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v3", GlobalKind::rebuild_tensor_v3},
    {"torch._utils", "_rebuild_qtensor", GlobalKind::rebuild_tensor},  // its storage class tells that it is quantised
    {"torch._utils", "_rebuild_parameter", GlobalKind::rebuild_parameter},
    {"torch._utils", "_rebuild_parameter_with_state", GlobalKind::rebuild_parameter},
    {"torch._tensor", "_rebuild_from_type_v2", GlobalKind::rebuild_from_type},
    {"torch", "Size", GlobalKind::torch_size},
    {"torch", "UntypedStorage", GlobalKind::untyped_storage},
    {"torch.storage", "UntypedStorage", GlobalKind::untyped_storage},
    {"torch.storage", "_UntypedStorage", GlobalKind::untyped_storage},
};

struct KnownType {
    const char * storage;
    const char * dtype;
    const char * alias;
    DType type;
};

constexpr KnownType known_types[] = {
    {"FloatStorage", "float32", "float", DType::f32},
    {"HalfStorage", "float16", "half", DType::f16},
    {"BFloat16Storage", "bfloat16", "", DType::bf16},
    {"DoubleStorage", "float64", "double", DType::f64},
    {"LongStorage", "int64", "long", DType::i64},
    {"IntStorage", "int32", "int", DType::i32},
    {"ShortStorage", "int16", "short", DType::i16},
    {"CharStorage", "int8", "", DType::i8},
    {"ByteStorage", "uint8", "", DType::u8},
    {"BoolStorage", "bool", "", DType::boolean},
    {"Float8_e4m3fnStorage", "float8_e4m3fn", "", DType::f8_e4m3},
    {"Float8_e5m2Storage", "float8_e5m2", "", DType::f8_e5m2},
    {"Float8_e8m0fnuStorage", "float8_e8m0fnu", "", DType::f8_e8m0},
    {"UInt16Storage", "uint16", "", DType::u16},
    {"UInt32Storage", "uint32", "", DType::u32},
    {"UInt64Storage", "uint64", "", DType::u64},
    {"ComplexFloatStorage", "complex64", "cfloat", DType::c64},
    {"ComplexDoubleStorage", "complex128", "cdouble", DType::c128},
};

struct UnreadClass {
    const char * name;
    uint64_t bytes;
};

// The last two pack several numbers of two or four bits into one element.
constexpr UnreadClass unread_classes[] = {
    {"QInt8Storage", 1},    {"QUInt8Storage", 1},      {"QInt32Storage", 4},          {"QUInt4x2Storage", 1},
    {"QUInt2x4Storage", 1}, {"ComplexHalfStorage", 4}, {"Float8_e4m3fnuzStorage", 1}, {"Float8_e5m2fnuzStorage", 1},
};

}  // namespace

uint64_t unread_element_bytes(std::string_view storage_class) {
    for (const UnreadClass & known : unread_classes) {
        if (storage_class == known.name) return known.bytes;
    }
    return 0;
}

PickleGlobal find_pickle_global(std::string_view module, std::string_view name) {
    for (const Known & known : known_globals) {
        if (module == known.module && name == known.name) return {known.kind, DType::f32};
    }
    if ((module != "torch" && module != "torch.cuda") || name.empty()) return {};
    for (const KnownType & known : known_types) {
        if (name == known.storage) return {GlobalKind::storage, known.type};
        if (name == known.dtype || name == known.alias) return {GlobalKind::dtype, known.type};
    }
    return {};
}

}  // namespace latent::formats
