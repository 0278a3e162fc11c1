#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/home.h"
#include "graph/portable/ggml_device.h"
#include "graph/portable/ops_ggml.h"
#include "graph/portable/weight_stream.h"

namespace latent::graph {

/// A ggml graph: the operations recorded by OpsGgml or a class derived from it, its inputs, and the memory of its values.
class GgmlGraph final : public Graph {
public:
    void set_input(const std::string & name, Span<const float> data) override;
    void set_input(const std::string & name, Span<const int32_t> data) override;
    void get_output(const std::string & name, Span<float> out) const override;
    bool has_input(const std::string & name) const override;
    size_t input_size(const std::string & name) const override;
    size_t output_size(const std::string & name) const override;
    void take_input(const std::string & name, const Graph & from, const std::string & output) override;
    std::unique_ptr<SavedOutput> save_output(const std::string & name) const override;
    void set_input(const std::string & name, const SavedOutput & value) override;
    Span<float> host_input(const std::string & name) override;
    Span<float> host_output(const std::string & name) override;
    void compute(const CancelToken & cancel) override;
    uint64_t bytes() const override { return bytes_; }
    GraphMeasure measure() const override;
    uint64_t bytes_to_allocate() const override;
    void allocate() override;

private:
    friend std::unique_ptr<Graph> build_ggml_graph(const GraphRequest &,
                                                   const std::function<std::unique_ptr<OpsGgml>(const GgmlGraphParts &)> &, bool);
    uint64_t leaf_bytes() const;
    uint64_t activation_bytes() const;
    uint64_t context_bytes() const { return ggml_get_mem_size(nodes_.get()) + ggml_get_mem_size(leaves_.get()); }
    GgmlDevice & device() const { return static_cast<GgmlDevice &>(*device_); }

    DevicePtr device_;
    ggml_context_ptr nodes_, leaves_;
    ggml_backend_buffer_ptr leaf_buffer_;
    ggml_gallocr_ptr allocator_;
    ggml_cgraph * graph_ = nullptr;
    std::map<std::string, ggml_tensor *> inputs_, outputs_;
    std::vector<OpsGgml::Constant> constants_;
    std::vector<std::shared_ptr<void>> owned_;
    double flops_ = 0;
    uint64_t thread_scratch_ = 0;
    std::unique_ptr<WeightStream> stream_;  // on devices that read weights from the mapped file
    bool own_threads_ = false;              // heavy nodes distribute their work themselves
    uint64_t bytes_ = 0;
    mutable uint64_t activation_bytes_ = 0;  // cached
};

/// Builds nodes and leaves, without memory for their data, with the operations that `open` makes. `own_threads`: as
/// GgmlDevice::compute().
std::unique_ptr<Graph> build_ggml_graph(const GraphRequest & request,
                                        const std::function<std::unique_ptr<OpsGgml>(const GgmlGraphParts &)> & open,
                                        bool own_threads);

}  // namespace latent::graph
