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

/// One way of running networks: an implementation of the vocabulary (ops.h) with the graphs and the weights that it works on.
/// Models, runners and weight stores know homes by this interface alone. Homes that run on one device read the same weights:
/// what one of them opened, the others take, packed types (packs()) excepted.
class Home {
public:
    virtual ~Home() = default;
    /// "fused", "portable", "cuda"; LATENT_OPS takes it.
    virtual const char * name() const = 0;
    /// On devices of this kind ("cpu", "cuda").
    virtual bool runs_on(const std::string & kind) const = 0;
    /// Whether it computes in float32 throughout where that is asked for.
    virtual bool is_exact() const = 0;
    /// Whether weights may be kept in a form of its own: DType::i8, bytes with a scale per output channel.
    virtual bool packs(DType) const { return false; }
    /// Whether networks may have adapters (AdaptedOps).
    virtual bool takes_adapters() const { return true; }
    virtual std::unique_ptr<WeightStorage> open_weights(const DevicePtr & device) const = 0;
    /// Records the graph; takes no memory for its values (Graph::allocate).
    virtual std::unique_ptr<Graph> build(const GraphRequest & request) const = 0;
};

/// Every home, in the order of preference. A home is added here, and its devices to device_sources().
const std::vector<const Home *> & homes();
const std::vector<DeviceSource> & device_sources();

/// The home that the environment variable LATENT_OPS asks for where it runs; null where it is not set. Throws invalid_argument
/// for a name that no home has.
const Home * preferred_home();

/// `name`: of a home that runs on devices of this kind, "" for the default: LATENT_OPS's, else the first that does. Throws
/// internal where there is none.
const Home & home_for(const std::string & kind, const std::string & name = "");

}  // namespace latent::graph
