#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/cuda/cuda_device.h"
#include "graph/runner.h"

namespace latent::graph {

/// A program of the CUDA engine: the operations that OpsCuda recorded, its memory on the device, and its captured CUDA graphs.
class CudaGraph final : public Graph {
public:
    explicit CudaGraph(std::shared_ptr<CudaDevice> device);
    ~CudaGraph() override;

    latent_cuda_program * program() const { return program_; }
    /// The sizes of an output of tokens, for save_output().
    void note_output(const std::string & name, int64_t batch, int64_t length, int64_t dim) {
        outputs_[name] = {batch, length, dim};
    }
    CudaDevice & device() const { return *device_; }
    template <typename Function, typename... Arguments>
    void call(const char * what, Function function, Arguments... arguments) const {
        device_->call(what, function, arguments...);
    }

    void set_input(const std::string & name, Span<const float> data) override;
    void set_input(const std::string & name, Span<const int32_t> data) override;
    void set_input(const std::string & name, const SavedOutput & value) override;
    void get_output(const std::string & name, Span<float> out) const override;
    bool has_input(const std::string & name) const override;
    size_t input_size(const std::string & name) const override;
    size_t output_size(const std::string & name) const override;
    void take_input(const std::string & name, const Graph & from, const std::string & output) override;
    std::unique_ptr<SavedOutput> save_output(const std::string & name) const override;
    void compute(const CancelToken & cancel) override;
    uint64_t bytes() const override;
    GraphMeasure measure() const override;
    uint64_t bytes_to_allocate() const override { return measure().bytes; }
    void allocate() override;

private:
    void profile();

    std::shared_ptr<CudaDevice> device_;
    latent_cuda_program * program_ = nullptr;
    std::map<std::string, std::array<int64_t, 3>> outputs_;
    int32_t launches_ = 0;
};

}  // namespace latent::graph
