#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/op_time.h"
#include "kernels/common/pool.h"

namespace latent::graph {

/// Arithmetic of a network: `exact` is float32 throughout, `fast` uses weights as stored or in the requested type.
enum class Precision { exact, fast };

struct DeviceInfo {
    std::string name;           // what create() takes, e.g. "cpu", "cuda:0"
    std::string kind;           // cpu | cuda | ggml-cuda | vulkan | metal
    std::string description;    // the hardware, as named by its maker
    std::string driver;         // of a GPU: name and version, if known
    uint64_t memory_total = 0;  // bytes
    uint64_t memory_free = 0;   // bytes that could be allocated now
    bool memory_known = false;  // the system tells memory_free
    std::string home;           // the default home for networks on this device
    std::string refused;        // why it cannot be used; empty if it can
};

/// Where graphs run and weights are stored. The homes that run on a device know its details (home.h). Graphs of one device run
/// one at a time.
class Device {
public:
    /// `name`: "auto" (the CPU), a kind ("cpu", "cuda", "ggml-cuda", "metal", "vulkan": its first usable device) or a name of
    /// list_devices(). `threads`: CPU threads, 0 for the physical cores. Throws ErrorCode::device naming the existing devices, or
    /// why this one cannot be used; invalid_argument if LATENT_KERNELS or LATENT_OPS has an unknown value.
    static std::shared_ptr<Device> create(const std::string & name = "auto", int threads = 0);
    virtual ~Device() = default;
    Device(const Device &) = delete;
    Device & operator=(const Device &) = delete;

    const std::string & name() const { return name_; }
    const std::string & kind() const { return kind_; }
    /// Number of CPU threads, for host work next to the graphs and, on the CPU, for the graphs.
    int threads() const { return threads_; }
    /// Values of graphs and weights are in the host's memory, so weights may be used in place from a mapped file.
    virtual bool shares_host_memory() const { return false; }
    /// Information with current memory figures.
    virtual DeviceInfo info() const = 0;
    /// Bytes that may be reserved now; UINT64_MAX if the system does not tell.
    uint64_t available() const;
    /// Throws out_of_memory with the numbers if `bytes` exceeds available(). `what` names the purpose in the message.
    void require(uint64_t bytes, const std::string & what) const;

    /// Starts or stops measuring each operation; stopping returns the table and clears it.
    virtual void start_profile() = 0;
    virtual std::vector<OpTime> stop_profile() = 0;
    /// Device memory that the backend keeps between computations for its own use: later graphs use it again, so it is free for
    /// them, though not in info().
    virtual uint64_t reusable() const { return 0; }
    /// Frees the scratch memory kept between computations.
    virtual void trim() = 0;
    /// While on, memory of freed graphs is kept for the next graphs of the same size; trim() frees it. Calls nest.
    virtual void reuse_memory(bool) {}
    /// The CPU's thread pool, for host work next to the graphs; null if the device is not a CPU.
    virtual kernels::Pool * host_pool() { return nullptr; }

protected:
    Device(std::string name, std::string kind, int threads);

private:
    std::string name_, kind_;
    int threads_ = 1;
};

using DevicePtr = std::shared_ptr<Device>;

/// Every device of this build and machine, unusable ones with the reason. The CPU is always listed, as the last. With a kind,
/// only its devices, and no driver of another kind is started.
std::vector<DeviceInfo> list_devices(const std::string & kind = "");

/// The kinds of devices that have a library, and the CPU. Loads nothing.
std::vector<std::string> device_kinds();
/// The name of the device that create() opens, or `name` if there is none. As create(), it starts only the driver of that kind.
std::string device_name(const std::string & name);

/// From now on the device of this name (of list_devices()) cannot be used, for the reason; "": it can again.
void refuse_device(const std::string & name, const std::string & reason);

/// A source of the devices of one kind for list_devices() and Device::create().
struct DeviceSource {
    std::string kind;
    /// Whether a library for them is given. Does not load it.
    bool (*given)(const std::string & kind);
    std::vector<DeviceInfo> (*list)(const std::string & kind);
    /// `name` is one of list().
    DevicePtr (*open)(const std::string & name, int threads);
};

}  // namespace latent::graph
