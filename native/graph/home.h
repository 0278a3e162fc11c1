#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph/device.h"
#include "graph/runner.h"
#include "graph/weight_storage.h"

namespace latent::graph {

/// What a graph is built from.
struct GraphRequest {
    const DevicePtr & device;
    const WeightStore & weights;
    const GraphBuilder & build;
    const Runner::Limits & limits;
};

/// One way of running networks: an implementation of the operations (ops.h) with its graphs and weights. Models, runners and
/// weight stores use homes only through this interface. Homes on the same device accept each other's weights, except packed types
/// (packs()).
class Home {
public:
    virtual ~Home() = default;
    /// "fused", "portable", "cuda"; the values of LATENT_OPS.
    virtual const char * name() const = 0;
    /// Whether it runs on devices of this kind ("cpu", "cuda").
    virtual bool runs_on(const std::string & kind) const = 0;
    /// Whether it can compute in float32 throughout on this device.
    virtual bool is_exact(const Device & device) const = 0;
    /// Whether weights may have a type specific to it: DType::i8, bytes with a scale per output channel.
    virtual bool packs(DType) const { return false; }
    /// The lower factor of each adapted layer begins at a multiple of these rows, where layers share a product (AdapterWeights).
    virtual int64_t low_rank_rows() const { return 2; }
    /// Whether adapters may scale and rotate what a layer reads and writes (Ops::scaled(), add_blocks(), gains of layers);
    /// elsewhere they replace its weight.
    virtual bool transforms() const { return false; }
    virtual std::unique_ptr<WeightStorage> open_weights(const DevicePtr & device) const = 0;
    /// Records the graph without allocating its values (see Graph::allocate).
    virtual std::unique_ptr<Graph> build(const GraphRequest & request) const = 0;
};

/// Every home, in order of preference. A new home is added here, and its devices in device_sources().
const std::vector<const Home *> & homes();
const std::vector<DeviceSource> & device_sources();

/// The home selected by the environment variable LATENT_OPS, for devices that it runs on; null if the variable is not set. Throws
/// invalid_argument for an unknown name.
const Home * preferred_home();

/// The home of this name for devices of this kind; "": the one selected by LATENT_OPS, else the first that runs on them. Throws
/// internal if there is none.
const Home & home_for(const std::string & kind, const std::string & name = "");

/// The end of an error's advice where a device that could compute in float32 does not; empty if it never does.
std::string float32_advice(const Device & device);

}  // namespace latent::graph
