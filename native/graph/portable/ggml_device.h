#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/pages.h"
#include "graph/device.h"
#include "graph/portable/ggml_pages.h"
#include "graph/portable/profile.h"

struct ggml_backend;
struct ggml_backend_buffer_type;
struct ggml_cgraph;
struct ggml_threadpool;

namespace latent::graph {

/// One ggml backend and, on the CPU, a thread pool that lives as long as the device.
class GgmlDevice final : public Device {
public:
    /// `name`: one of ggml_devices().list().
    static DevicePtr open(const std::string & name, int threads);
    ~GgmlDevice() override;

    DeviceInfo info() const override;
    void start_profile() override;
    std::vector<OpTime> stop_profile() override;
    void trim() override;
    void reuse_memory(bool on) override;
    bool shares_host_memory() const override { return pool_ != nullptr; }
    kernels::Pool * host_pool() override { return pool_.get(); }

    /// Runs a graph to its end, or throws aborted soon after `cancel` is set (the device stays usable), or device.
    /// `own_threads`: the graph's heavy nodes use pool() themselves (ops_cpu), so ggml runs it with one thread.
    void compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads);
    /// Scratch bytes that ggml's CPU backend needs in addition to the graph's buffer; 0 on other devices.
    uint64_t work_bytes(ggml_cgraph * graph, bool own_threads) const;

    /// The CPU's threads. A failing node calls fail_node(), because exceptions must not pass through ggml; compute() then throws.
    kernels::Pool & pool() { return *pool_; }
    void fail_node(const char * what);
    /// Not null while profiling; used by the thread inside compute().
    Profile * profile() const { return profile_.get(); }
    ggml_backend_buffer_type * buffer_type() const;

private:
    GgmlDevice(std::string name, std::string kind, int threads);
    int compute_cpu(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads);  // a ggml_status

    ggml_backend * backend_ = nullptr;
    std::unique_ptr<kernels::Pool> pool_;    // on the CPU alone
    ggml_threadpool * ggml_pool_ = nullptr;  // for graphs of the portable home, started on first use
    std::atomic<bool> node_failed_{false};
    std::string node_failure_;
    PageBuffers buffers_;  // on the CPU
    Pages scratch_;
    std::unique_ptr<Profile> profile_;
    std::mutex computing_;
};

/// The devices of the ggml backends compiled in: GPUs, then the CPU.
DeviceSource ggml_devices();

}  // namespace latent::graph
