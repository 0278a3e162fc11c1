#pragma once

#include <string>

#include "core/job.h"
#include "graph/device.h"

struct ggml_backend_buffer_type;
struct ggml_cgraph;
struct ggml_tensor;

namespace latent::graph {

class WeightStream;

/// A device on which graphs of ggml run: the CPU (GgmlCpuDevice), or a GPU behind the library of its backend (GgmlBackendDevice).
class GgmlDevice : public Device {
public:
    /// Runs a graph to its end, or throws aborted soon after `cancel` is set (the device stays usable), out_of_memory or device.
    /// `own_threads`: the graph's heavy nodes distribute their work over the CPU's threads themselves (ops_cpu).
    /// `stream`: weights to drop and to ask for between the nodes, on devices that share the host's memory; null: none.
    virtual void compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream) = 0;
    /// Scratch bytes that a graph needs in addition to its buffer.
    virtual uint64_t work_bytes(ggml_cgraph * graph, bool own_threads) const = 0;
    /// Host memory that a device with its own memory keeps for transfers.
    virtual uint64_t host_work_bytes() const { return 0; }
    virtual ggml_backend_buffer_type * buffer_type() const = 0;

    /// Whether the device can compute this node.
    virtual bool supports(const ggml_tensor * node) const = 0;
    /// Whether products of float32 are computed in float32.
    virtual bool float32_products() const = 0;
    /// Throws device if the driver no longer serves it; asked where memory could not be allocated.
    virtual void check_answers() const {}

    /// All bytes of a tensor, from or to the host, or between two tensors of the device.
    virtual void write(ggml_tensor * tensor, const void * data) = 0;
    virtual void read(const ggml_tensor * tensor, void * data) const = 0;
    virtual void copy(const ggml_tensor * from, ggml_tensor * to) = 0;

protected:
    using Device::Device;
};

}  // namespace latent::graph
