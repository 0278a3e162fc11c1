#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/op_time.h"
#include "kernels/common/pool.h"

namespace latent::graph {

/// Arithmetic of a network: `exact` is float32 throughout, `fast` takes weights as they are stored or asked for.
enum class Precision { exact, fast };

struct DeviceInfo {
    std::string name;           // what create() takes, e.g. "cpu", "cuda:0"
    std::string kind;           // cpu | cuda | metal | vulkan | ...
    std::string description;    // the hardware in its maker's words
    uint64_t memory_total = 0;  // bytes
    uint64_t memory_free = 0;   // bytes that could be allocated now
    std::string home;           // by which networks run on it when nothing else is asked for
    std::string refused;        // why it cannot be used; empty: it can
};

/// Where graphs run and weights live. What a device is besides is known to the homes that run on it (home.h). Graphs of one
/// device run one at a time.
class Device {
public:
    /// `name`: "auto" (the CPU), a kind ("cpu", "cuda", "metal", "vulkan": its first device that can be used) or a name of
    /// list_devices(). `threads`: CPU threads, 0 for the physical cores. Throws ErrorCode::device naming the devices that exist,
    /// or why this one cannot be used; invalid_argument where LATENT_KERNELS or LATENT_OPS names what does not exist.
    static std::shared_ptr<Device> create(const std::string & name = "auto", int threads = 0);
    virtual ~Device() = default;
    Device(const Device &) = delete;
    Device & operator=(const Device &) = delete;

    const std::string & name() const { return name_; }
    const std::string & kind() const { return kind_; }
    /// Of the host, for work beside the graphs and, on the CPU, for them.
    int threads() const { return threads_; }
    /// Values of graphs and weights lie in the host's memory: weights may be used in place from a mapped file.
    virtual bool shares_host_memory() const { return false; }
    /// With the memory figures of this moment.
    virtual DeviceInfo info() const = 0;
    /// Bytes that may be reserved now; UINT64_MAX where the system does not tell.
    uint64_t available() const;
    /// Throws out_of_memory with the numbers when `bytes` more than available() are wanted. `what` names the thing in the
    /// message.
    void require(uint64_t bytes, const std::string & what) const;

    /// From now on (or no longer) adds up what each operation takes. Off again gives the table and forgets it.
    virtual void start_profile() = 0;
    virtual std::vector<OpTime> stop_profile() = 0;
    /// Gives back the scratch memory kept between computations.
    virtual void trim() = 0;
    /// The CPU's threads, for work of the host beside the graphs; null where the device is no CPU.
    virtual kernels::Pool * host_pool() { return nullptr; }

protected:
    Device(std::string name, std::string kind, int threads);

private:
    std::string name_, kind_;
    int threads_ = 1;
};

using DevicePtr = std::shared_ptr<Device>;

/// Every device that this build and this machine have, those that cannot be used with the reason. The CPU is always there, and
/// last.
std::vector<DeviceInfo> list_devices();

/// Devices of one kind of engine, as list_devices() and Device::create() ask for them.
struct DeviceSource {
    std::vector<DeviceInfo> (*list)();
    /// `name` is one of list().
    DevicePtr (*open)(const std::string & name, int threads);
};

}  // namespace latent::graph
