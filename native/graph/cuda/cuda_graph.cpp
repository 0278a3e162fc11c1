#include "graph/cuda/cuda_graph.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace latent::graph {

CudaGraph::CudaGraph(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {
    call("Beginning a graph", &latent_cuda_api::program_create, device_->handle(), &program_);
}

CudaGraph::~CudaGraph() {
    device_->ask(&latent_cuda_api::program_destroy, program_);
}

void CudaGraph::set_input(const std::string & name, Span<const float> data) {
    call("Setting an input", &latent_cuda_api::set_input, program_, name.c_str(), data.data(),
         static_cast<uint64_t>(data.size()));
}

void CudaGraph::set_input(const std::string & name, Span<const int32_t> data) {
    call("Setting an input", &latent_cuda_api::set_ids, program_, name.c_str(), data.data(), static_cast<uint64_t>(data.size()));
}

void CudaGraph::get_output(const std::string & name, Span<float> out) const {
    call("Reading an output", &latent_cuda_api::get_output, program_, name.c_str(), out.data(),
         static_cast<uint64_t>(out.size()));
}

bool CudaGraph::has_input(const std::string & name) const {
    return input_size(name) > 0;
}

size_t CudaGraph::input_size(const std::string & name) const {
    return static_cast<size_t>(device_->ask(&latent_cuda_api::input_size, program_, name.c_str()));
}

size_t CudaGraph::output_size(const std::string & name) const {
    return static_cast<size_t>(device_->ask(&latent_cuda_api::output_size, program_, name.c_str()));
}

void CudaGraph::take_input(const std::string & name, const Graph & from, const std::string & output) {
    call("Copying a value", &latent_cuda_api::transfer, static_cast<const CudaGraph &>(from).program_, output.c_str(), program_,
         name.c_str());
}

namespace {

/// A program that copies its input to its output, whose memory keeps the value.
class CudaValue final : public SavedOutput {
public:
    explicit CudaValue(std::shared_ptr<CudaGraph> held) : held_(std::move(held)) {}
    const CudaGraph & held() const { return *held_; }
    uint64_t bytes() const override { return held_->bytes(); }
    std::vector<float> numbers() const override {
        std::vector<float> values(held_->output_size("value"));
        held_->get_output("value", values);
        return values;
    }

private:
    std::shared_ptr<CudaGraph> held_;
};

int cuda_cancelled(void * token) {
    return static_cast<const CancelToken *>(token)->cancelled() ? 1 : 0;
}

}  // namespace

void CudaGraph::set_input(const std::string & name, const SavedOutput & value) {
    if (const auto * kept = dynamic_cast<const CudaValue *>(&value)) {
        take_input(name, kept->held(), "value");
    } else {
        Graph::set_input(name, value);
    }
}

std::unique_ptr<SavedOutput> CudaGraph::save_output(const std::string & name) const {
    const auto sizes = outputs_.find(name);
    if (sizes == outputs_.end()) return Graph::save_output(name);
    const auto [batch, length, dim] = sizes->second;
    auto held = std::make_shared<CudaGraph>(device_);
    latent_cuda_value value = -1;
    call("Keeping a value", &latent_cuda_api::input_seq, held->program_, "value", batch, length, dim, &value);
    call("Keeping a value", &latent_cuda_api::output_seq, held->program_, "value", value);
    held->allocate();
    held->take_input("value", *this, name);
    held->compute({});
    return std::make_unique<CudaValue>(std::move(held));
}

void CudaGraph::compute(const CancelToken & cancel) {
    cancel.check();
    if (device_->profiling()) return profile();
    call("Computing", &latent_cuda_api::program_run, program_, &cuda_cancelled,
         static_cast<void *>(const_cast<CancelToken *>(&cancel)));
}

void CudaGraph::profile() {
    std::vector<latent_cuda_launch_time> launches(static_cast<size_t>(launches_));
    int32_t count = 0;
    call("Computing", &latent_cuda_api::program_profile, program_, launches.data(), launches_, &count);
    launches.resize(static_cast<size_t>(std::min(count, launches_)));
    device_->count(launches);
}

GraphMeasure CudaGraph::measure() const {
    latent_cuda_measure measured{};
    call("Planning a graph", &latent_cuda_api::program_measure, program_, &measured);
    GraphMeasure out;
    out.bytes = measured.bytes, out.host_bytes = measured.pinned_bytes, out.flops = measured.flops;
    return out;
}

void CudaGraph::allocate() {
    latent_cuda_measure measured{};
    call("Planning a graph", &latent_cuda_api::program_measure, program_, &measured);
    launches_ = measured.launches;
    call("Allocating a graph", &latent_cuda_api::program_finish, program_);
}

uint64_t CudaGraph::bytes() const {
    return device_->ask(&latent_cuda_api::program_bytes, program_);
}

}  // namespace latent::graph
