#pragma once

#include <string_view>

#include "formats/containers/unpickler.h"

namespace latent::formats {

struct PickleGlobal {
    GlobalKind kind = GlobalKind::unknown;
    DType dtype = DType::f32;  // of a storage class or a dtype
};

/// The allow-list. Any other name is `unknown` and is never acted on.
PickleGlobal find_pickle_global(std::string_view module, std::string_view name);

/// Bytes per element of torch's storage classes that cannot be read (quantised types and those without a DType). 0: an unknown
/// class.
uint64_t unread_element_bytes(std::string_view storage_class);

}  // namespace latent::formats
