#include "graph/cuda/cuda_home.h"

#include "graph/cuda/cuda_graph.h"
#include "graph/cuda/cuda_weights.h"
#include "graph/cuda/ops_cuda.h"

namespace latent::graph {
namespace {

class CudaHome final : public Home {
public:
    const char * name() const override { return "cuda"; }
    bool runs_on(const std::string & kind) const override { return kind == "cuda"; }
    bool is_exact(const Device &) const override { return false; }
    int64_t low_rank_rows() const override { return 8; }  // 16 bytes of bfloat16
    bool transforms() const override { return true; }

    std::unique_ptr<WeightStorage> open_weights(const DevicePtr & device) const override {
        return std::make_unique<CudaWeights>(device);
    }

    std::unique_ptr<Graph> build(const GraphRequest & request) const override {
        auto graph = std::make_unique<CudaGraph>(std::static_pointer_cast<CudaDevice>(request.device));
        OpsCuda ops(*graph);
        request.build(ops);
        return graph;
    }
};

}  // namespace

const Home & cuda_home() {
    static const CudaHome home;
    return home;
}

}  // namespace latent::graph
