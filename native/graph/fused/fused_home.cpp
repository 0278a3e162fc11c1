#include "graph/fused/fused_home.h"

#include "graph/convert_rows.h"
#include "graph/fused/ops_cpu.h"
#include "graph/portable/ggml_graph.h"
#include "graph/portable/ggml_weights.h"
#include "kernels/common/matmul.h"

namespace latent::graph {
namespace {

/// Rows of input channels, one per tap.
kernels::Int8Matrix int8_matrix(const Parameter & parameter) {
    kernels::Int8Matrix matrix;
    matrix.rows = parameter.rows();
    matrix.channels = parameter.shape[1];
    matrix.taps = static_cast<int>(parameter.inner() / matrix.channels);
    return matrix;
}

class FusedWeights final : public GgmlWeights {
public:
    explicit FusedWeights(const DevicePtr & device) : GgmlWeights(device), pool_(*device->host_pool()) {}

    uint64_t bytes(const Parameter & parameter) const override {
        if (parameter.dtype != DType::i8) return GgmlWeights::bytes(parameter);
        const kernels::Int8Matrix matrix = int8_matrix(parameter);
        return static_cast<uint64_t>(kernels::Int8Matrix::bytes(matrix.rows, matrix.channels, matrix.taps));
    }

    bool takes_in_place(const Parameter & parameter, DType stored, Span<const uint8_t> data) const override {
        return parameter.dtype != DType::i8 && GgmlWeights::takes_in_place(parameter, stored, data);
    }

    void load(const Parameter & parameter, DType stored, Span<const uint8_t> data) override {
        if (parameter.dtype == DType::i8) {
            pack(parameter, stored, data.data());
        } else {
            GgmlWeights::load(parameter, stored, data);
        }
    }

private:
    void pack(const Parameter & parameter, DType stored, const uint8_t * source) {
        struct Reader {
            DType type;
            const uint8_t * source;
            int64_t inner;
        };
        Reader reader{stored, source, parameter.inner()};
        const kernels::Int8Matrix matrix = int8_matrix(parameter);
        const auto read = [](void * user, int64_t row, float * target) {
            const Reader & from = *static_cast<const Reader *>(user);
            rows_to_f32(from.type, from.source, row, row + 1, from.inner, target);
        };
        uint8_t * out = static_cast<uint8_t *>(tensor_of(&parameter)->data);
        const int panels = static_cast<int>((matrix.rows + kernels::kTileColumns - 1) / kernels::kTileColumns);
        const kernels::PanelOrder order = kernels::int8_set().order;
        pool_.run(panels, [&](int panel) { kernels::pack_int8_panel(order, matrix, panel, read, &reader, out); });
    }

    kernels::Pool & pool_;
};

kernels::Arithmetic arithmetic(const GraphRequest & request) {
    const bool exact =
        request.limits.float32 || request.weights.policy().precision == Precision::exact || request.weights.float32_products();
    return exact ? kernels::Arithmetic::f32 : kernels::Arithmetic::fast;
}

class FusedHome final : public Home {
public:
    const char * name() const override { return "fused"; }
    bool runs_on(const std::string & kind) const override { return kind == "cpu"; }
    bool is_exact(const Device &) const override { return true; }
    bool packs(DType type) const override { return type == DType::i8; }

    bool transforms() const override { return true; }

    std::unique_ptr<WeightStorage> open_weights(const DevicePtr & device) const override {
        return std::make_unique<FusedWeights>(device);
    }

    std::unique_ptr<Graph> build(const GraphRequest & request) const override {
        GgmlCpuDevice & device = static_cast<GgmlCpuDevice &>(*request.device);
        const auto open = [&](const GgmlGraphParts & parts) {
            return std::make_unique<OpsCpu>(parts, request.limits, device, arithmetic(request));
        };
        return build_ggml_graph(request, open, true);
    }
};

}  // namespace

const Home & fused_home() {
    static const FusedHome home;
    return home;
}

}  // namespace latent::graph
