#pragma once

#include <string_view>

#include "formats/containers/unpickler.h"

namespace latent::formats {

struct PickleGlobal {
    GlobalKind kind = GlobalKind::unknown;
    DType dtype = DType::f32;  // of a storage class or a dtype
};

/// The allow-list. A name that is not on it is `unknown`, which nothing is ever done with.
PickleGlobal find_pickle_global(std::string_view module, std::string_view name);

/// Bytes of an element of one of torch's storage classes whose elements are not read: quantised numbers and those without a
/// DType. 0: a class that nobody here knows.
uint64_t unread_element_bytes(std::string_view storage_class);

}  // namespace latent::formats
