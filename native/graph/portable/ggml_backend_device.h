#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend_api.h"
#include "graph/portable/ggml_device.h"

namespace latent::graph {

/// A GPU behind the library of a ggml backend.
class GgmlBackendDevice final : public GgmlDevice {
public:
    /// `name`: "vulkan:0" ...
    static DevicePtr open(const std::string & name, int threads);
    ~GgmlBackendDevice() override;

    DeviceInfo info() const override;
    void start_profile() override;
    std::vector<OpTime> stop_profile() override;
    uint64_t reusable() const override;
    void trim() override {}

    void compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream) override;
    uint64_t work_bytes(ggml_cgraph * graph, bool own_threads) const override;
    uint64_t host_work_bytes() const override;
    ggml_backend_buffer_type * buffer_type() const override;
    bool supports(const ggml_tensor * node) const override;
    bool float32_products() const override { return float32_; }
    void check_answers() const override;
    void write(ggml_tensor * tensor, const void * data) override;
    void read(const ggml_tensor * tensor, void * data) const override;
    void copy(const ggml_tensor * from, ggml_tensor * to) override;

private:
    struct Scratch;
    static std::shared_ptr<Scratch> scratch_of(const std::string & name);

    GgmlBackendDevice(const latent_backend_api * api, std::string kind, int index, int threads);
    void check(int status, const char * what) const;
    void run(ggml_cgraph * graph, const CancelToken & cancel);
    void count(const ggml_tensor * node, double milliseconds);

    const latent_backend_api * api_;
    int index_;
    latent_backend_device * device_ = nullptr;
    bool float32_ = false;
    double slice_work_;  // multiply-adds between two checks of the cancel token
    mutable std::mutex mutex_;
    mutable std::mutex info_mutex_;
    mutable DeviceInfo info_;           // the latest known
    std::shared_ptr<Scratch> scratch_;  // of the GPU
    bool profiling_ = false;
    std::map<std::string, OpTime> profile_;
};

/// The devices of each backend library (ggml_library.h); unusable ones with the reason.
std::vector<DeviceSource> backend_devices();

}  // namespace latent::graph
