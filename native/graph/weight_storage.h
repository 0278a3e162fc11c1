#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/parameters.h"
#include "core/span.h"

namespace latent::graph {

using latent::Parameter;
using latent::Resident;

/// The weights of one store on one device: a part of a home (home.h). Parameters are declared once they are planned, get memory
/// together, and are filled one by one.
class WeightStorage {
public:
    virtual ~WeightStorage() = default;

    /// The type that a parameter is kept in here where `wanted` is asked for and the file has `stored`.
    virtual DType resident_type(const Parameter & parameter, DType stored, DType wanted) const = 0;
    /// Bytes of a parameter of its type, which is known.
    virtual uint64_t bytes(const Parameter & parameter) const = 0;
    /// The handle by which graphs refer to it, without memory. `stored`: what the file has.
    virtual std::unique_ptr<Resident> declare(const Parameter & parameter, DType stored) = 0;
    /// Where the file's bytes of a parameter may be used as they are: of the resident type, aligned, in the host's memory.
    virtual bool takes_in_place(const Parameter & parameter, DType stored, Span<const uint8_t> bytes) const = 0;

    struct Placement {
        const Parameter * parameter;
        Span<const uint8_t> in_place;  // empty: takes memory
    };
    /// Memory for all of them. Throws out_of_memory, std::bad_alloc.
    virtual void allocate(const std::vector<Placement> & parameters) = 0;
    /// Converts and writes one that is not in place. `data`: all of it as the file has it.
    virtual void load(const Parameter & parameter, DType stored, Span<const uint8_t> data) = 0;
    /// The numbers of a float32 vector or table that is loaded.
    virtual void read(const Parameter & parameter, Span<float> out) const = 0;
    /// Frees the memory; handles stay.
    virtual void unload(const std::vector<const Parameter *> & parameters) = 0;
};

}  // namespace latent::graph
