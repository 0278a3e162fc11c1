#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/cuda_api.h"
#include "graph/device.h"

namespace latent::graph {

/// One GPU, opened through the CUDA engine's function table. Values are bfloat16.
class CudaDevice final : public Device {
public:
    /// `name`: "cuda:0" ...
    static DevicePtr open(const std::string & name, int threads);
    ~CudaDevice() override;

    DeviceInfo info() const override;
    void start_profile() override;
    std::vector<OpTime> stop_profile() override;
    void trim() override;

    /// Calls a function of the table. One call at a time, because the engine accepts calls on a device from one thread only. A
    /// failed status becomes an exception whose message begins with `what`, the operation.
    template <typename Function, typename... Arguments>
    void call(const char * what, Function function, Arguments... arguments) const {
        const std::lock_guard<std::mutex> lock(mutex_);
        const int status = (api_->*function)(arguments...);
        if (status != LATENT_CUDA_OK) fail(what, status);
    }
    /// Functions that cannot fail.
    template <typename Function, typename... Arguments>
    auto ask(Function function, Arguments... arguments) const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return (api_->*function)(arguments...);
    }
    latent_cuda_device * handle() const { return device_; }

    bool profiling() const { return profiling_; }
    void count(const std::vector<latent_cuda_launch_time> & launches);

private:
    CudaDevice(const latent_cuda_api * api, int index, int threads);
    [[noreturn]] void fail(const char * what, int status) const;

    const latent_cuda_api * api_;
    int index_;
    latent_cuda_device * device_ = nullptr;
    mutable std::mutex mutex_;
    mutable std::mutex info_mutex_;
    mutable DeviceInfo info_;  // the latest known
    bool profiling_ = false;
    std::vector<OpTime> profile_;
};

/// The GPUs that the CUDA engine lists, if it is loaded; unusable ones with the reason.
DeviceSource cuda_devices();

}  // namespace latent::graph
