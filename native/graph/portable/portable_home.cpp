#include "graph/portable/portable_home.h"

#include "graph/portable/ggml_graph.h"
#include "graph/portable/ggml_weights.h"
#include "graph/portable/ops_ggml.h"

namespace latent::graph {
namespace {

class PortableHome final : public Home {
public:
    const char * name() const override { return "portable"; }
    bool runs_on(const std::string & kind) const override { return kind != "cuda"; }
    bool is_exact(const Device & device) const override { return static_cast<const GgmlDevice &>(device).float32_products(); }

    bool transforms() const override { return true; }

    std::unique_ptr<WeightStorage> open_weights(const DevicePtr & device) const override {
        return std::make_unique<GgmlWeights>(device);
    }

    std::unique_ptr<Graph> build(const GraphRequest & request) const override {
        const bool on_host = request.device->shares_host_memory();
        const auto open = [&](const GgmlGraphParts & parts) { return std::make_unique<OpsGgml>(parts, on_host, request.limits); };
        return build_ggml_graph(request, open, false);
    }
};

}  // namespace

const Home & portable_home() {
    static const PortableHome home;
    return home;
}

}  // namespace latent::graph
