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

}  // namespace latent::formats
