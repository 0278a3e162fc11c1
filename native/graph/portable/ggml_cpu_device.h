#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/pages.h"
#include "graph/portable/ggml_device.h"
#include "graph/portable/ggml_pages.h"
#include "graph/portable/profile.h"

struct ggml_backend;
struct ggml_threadpool;

namespace latent::graph {

/// ggml's CPU backend and a thread pool that lives as long as the device.
class GgmlCpuDevice final : public GgmlDevice {
public:
    static DevicePtr open(const std::string & name, int threads);
    ~GgmlCpuDevice() override;

    DeviceInfo info() const override;
    void start_profile() override;
    std::vector<OpTime> stop_profile() override;
    void trim() override;
    void reuse_memory(bool on) override;
    bool shares_host_memory() const override { return true; }
    kernels::Pool * host_pool() override { return &pool_; }

    void compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream) override;
    uint64_t work_bytes(ggml_cgraph * graph, bool own_threads) const override;
    ggml_backend_buffer_type * buffer_type() const override { return buffers_.type(); }
    bool supports(const ggml_tensor *) const override { return true; }
    bool float32_products() const override { return true; }
    void write(ggml_tensor * tensor, const void * data) override;
    void read(const ggml_tensor * tensor, void * data) const override;
    void copy(const ggml_tensor * from, ggml_tensor * to) override;

    /// A failing node calls fail_node(), because exceptions must not pass through ggml; compute() then throws.
    kernels::Pool & pool() { return pool_; }
    void fail_node(const char * what);
    /// Not null while profiling; used by the thread inside compute().
    Profile * profile() const { return profile_.get(); }

private:
    explicit GgmlCpuDevice(int threads);
    int run(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream);  // a ggml_status

    kernels::Pool pool_;
    ggml_threadpool * ggml_pool_ = nullptr;  // for graphs of the portable home, started on first use
    std::atomic<bool> node_failed_{false};
    std::string node_failure_;
    PageBuffers buffers_;
    Pages scratch_;
    std::unique_ptr<Profile> profile_;
    std::mutex computing_;
};

/// The CPU.
DeviceSource cpu_devices();

}  // namespace latent::graph
