#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/parameters.h"
#include "core/span.h"

namespace latent::graph {

using latent::Parameter;
using latent::Resident;

/// The weights of one WeightStore on one device; each home implements it (home.h). Parameters are declared after planning,
/// allocated together, and filled one by one.
class WeightStorage {
public:
    virtual ~WeightStorage() = default;

    /// The type in which a parameter is kept if `wanted` is requested and the file has `stored`.
    virtual DType resident_type(const Parameter & parameter, DType stored, DType wanted) const = 0;
    /// Bytes of a parameter whose type is set.
    virtual uint64_t bytes(const Parameter & parameter) const = 0;
    /// Creates the handle that graphs refer to, without memory. `stored`: the type in the file.
    virtual std::unique_ptr<Resident> declare(const Parameter & parameter, DType stored) = 0;
    /// Whether a parameter's bytes in the file can be used in place: of the resident type, aligned, in the host's memory.
    virtual bool takes_in_place(const Parameter & parameter, DType stored, Span<const uint8_t> bytes) const = 0;

    struct Placement {
        const Parameter * parameter;
        Span<const uint8_t> in_place;  // empty: needs memory
    };
    /// Allocates all of them. Throws out_of_memory, std::bad_alloc.
    virtual void allocate(const std::vector<Placement> & parameters) = 0;
    /// Converts and writes a parameter that is not in place. `data`: all its bytes from the file.
    virtual void load(const Parameter & parameter, DType stored, Span<const uint8_t> data) = 0;
    /// The values of a loaded float32 vector or table.
    virtual void read(const Parameter & parameter, Span<float> out) const = 0;
    /// Frees the memory; handles stay valid.
    virtual void unload(const std::vector<const Parameter *> & parameters) = 0;
};

}  // namespace latent::graph
