#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/job.h"
#include "graph/profile.h"
#include "kernels/common/pool.h"

struct ggml_backend;
struct ggml_backend_buffer;
struct ggml_backend_buffer_type;
struct ggml_cgraph;
struct ggml_threadpool;

namespace latent::graph {

/// Arithmetic of a network: `exact` is float32 throughout, `fast` takes weights as they are stored or asked for.
enum class Precision { exact, fast };

struct DeviceInfo {
    std::string name;           // what create() takes, e.g. "cpu", "cuda0"
    std::string kind;           // cpu | cuda | metal | vulkan | ... (ggml's backend, lower case)
    std::string description;    // the hardware in its maker's words
    uint64_t memory_total = 0;  // bytes
    uint64_t memory_free = 0;   // bytes that could be allocated now
};

/// Every device of the backends compiled in. The CPU is always there, and last.
std::vector<DeviceInfo> list_devices();

/// Where graphs run and weights live: one ggml backend and, on the CPU, one pool of threads that lives as long as the device.
/// Graphs run one at a time (compute() takes a lock).
class Device {
public:
    /// `name`: "auto" (the first GPU, else the CPU), a kind ("cpu", "cuda", "metal", "vulkan") or a name of list_devices().
    /// `threads`: CPU threads, 0 for the physical cores. Throws ErrorCode::device naming the devices that exist, invalid_argument
    /// where LATENT_KERNELS or LATENT_OPS names what does not.
    static std::shared_ptr<Device> create(const std::string & name = "auto", int threads = 0);
    ~Device();
    Device(const Device &) = delete;
    Device & operator=(const Device &) = delete;

    const std::string & name() const { return name_; }
    const std::string & kind() const { return kind_; }
    bool is_cpu() const { return kind_ == "cpu"; }
    int threads() const { return threads_; }
    /// With the memory figures of this moment.
    DeviceInfo info() const;
    /// Bytes that may be reserved now; UINT64_MAX where the system does not tell.
    uint64_t available() const;
    /// Throws out_of_memory with the numbers when `bytes` more than available() are wanted. `what` names the thing in the
    /// message.
    void require(uint64_t bytes, const std::string & what) const;

    /// Runs a graph to its end, or throws aborted soon after `cancel` is set (the device stays usable), or device.
    /// `own_threads`: the graph's heavy nodes use pool() themselves (ops_cpu), so ggml walks it with one thread.
    void compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads = false);
    /// From now on (or no longer) adds up what each operation takes, on the CPU. Off again gives the table and forgets it.
    void start_profile();
    std::vector<OpTime> stop_profile();
    /// Gives back the scratch memory kept between computations.
    void trim();
    /// Scratch bytes that ggml's CPU backend needs beside the graph's own buffer; 0 elsewhere.
    uint64_t work_bytes(ggml_cgraph * graph, bool own_threads = false) const;

    // For this layer and models only.
    /// The CPU's threads. Nodes that fail call fail_node(), since no exception may pass through ggml: compute() then ends with
    /// it.
    kernels::Pool & pool() { return *pool_; }
    /// The same for work of the host beside the graphs; null where the device is no CPU.
    kernels::Pool * host_pool() { return pool_.get(); }
    void fail_node(const char * what);
    /// Not null while profiling; for the thread inside compute().
    Profile * profile() const { return profile_.get(); }
    ggml_backend * backend() const { return backend_; }
    ggml_backend_buffer_type * buffer_type() const;
    /// Weights may be used in place from host memory (a mapped file).
    bool maps_host_memory() const { return is_cpu(); }

private:
    struct Scratch;
    Device() = default;
    int compute_cpu(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads);  // a ggml_status

    std::string name_, kind_;
    int threads_ = 1;
    ggml_backend * backend_ = nullptr;
    std::unique_ptr<kernels::Pool> pool_;
    ggml_threadpool * ggml_pool_ = nullptr;  // for graphs of the portable home, started on first use
    std::atomic<bool> node_failed_{false};
    std::string node_failure_;
    std::unique_ptr<Scratch> scratch_;
    std::unique_ptr<Profile> profile_;
    std::mutex computing_;
};

using DevicePtr = std::shared_ptr<Device>;

}  // namespace latent::graph
