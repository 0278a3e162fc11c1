#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/json.h"
#include "models/network.h"

namespace latent::pipeline {

/// Bytes that a run keeps between its steps, counted for as long as the claim lives; it may end on any thread.
class MemoryClaim {
public:
    using Total = std::shared_ptr<std::atomic<uint64_t>>;

    MemoryClaim(Total total, uint64_t bytes) : total_(std::move(total)), bytes_(bytes) { *total_ += bytes_; }
    ~MemoryClaim() { *total_ -= bytes_; }
    MemoryClaim(const MemoryClaim &) = delete;
    MemoryClaim & operator=(const MemoryClaim &) = delete;

private:
    Total total_;
    uint64_t bytes_;
};

/// Which parts of a model (conditioners, denoising network, first stage) are in memory; networks of one name (SDXL's text
/// encoders) are reported together. Weights are read at load, or one part at a time where memory is short; graphs and mapped
/// pages of parts that do not work are given back.
class PartResidency {
public:
    struct Options {
        std::string memory = "auto";  // auto | fast | low
        uint64_t max_bytes = 0;       // 0: no bound of the caller's
        graph::Precision precision = graph::Precision::fast;
    };

    /// `claims`: of runs that go on meanwhile, null: there are none yet.
    PartResidency(graph::DevicePtr device, Options options, MemoryClaim::Total claims = nullptr);

    /// Takes part from now on; parts are loaded in this order. Its weights must be planned, and settle() must follow.
    void add(models::Network & network) { parts_.push_back(&network); }
    /// A small part that works between the calls of another one and leaves that in memory, graphs included: previews. There may
    /// be several such hosts, which do not work at once.
    void accompany(const models::Network & network, const models::Network & host);
    /// Decides whether parts take turns in memory.
    void settle();
    /// For plans that nobody runs: another bound, and bytes that are taken now and would not be.
    void suppose(uint64_t max_bytes, uint64_t spare);

    const std::vector<models::Network *> & parts() const { return parts_; }
    const graph::DevicePtr & device() const { return device_; }
    const Options & options() const { return options_; }
    uint64_t bound() const { return options_.max_bytes; }
    bool one_part_at_a_time() const { return one_part_at_a_time_; }
    /// Nothing is given back.
    bool keeps_all() const { return options_.memory == "fast" && !options_.max_bytes && !one_part_at_a_time_; }

    /// Reads the weights of all parts, unless they take turns. Throws out_of_memory if one does not fit the bound.
    void load(const JobContext & job);
    /// Called at the begin of use().
    void before_use(std::function<void(const JobContext &)> action) { before_use_ = std::move(action); }
    /// Makes the weights of a part resident and leaves the memory to it.
    void use(models::Network & network, const JobContext & job);
    /// Runs a stage of a part, and again in float32 where what it gives is not finite although it could be: 16-bit numbers end
    /// sooner, and 8-bit ones have coarse scales. The part then stays in float32. Throws model_format if that does not help: a
    /// black image would look like a result.
    void run_finite(models::Network & network, const std::function<Span<const float>()> & run);
    /// Frees graphs and weights.
    void unload();

    /// Bytes of weights that are resident while a part works: its own, what others keep on the heap, and those of the largest
    /// part that it accompanies.
    uint64_t bytes_with(const models::Network & network) const;
    /// Bytes that the system has for a part's graphs, those included that new ones would replace.
    uint64_t available_to(const models::Network & network) const;
    /// Throws out_of_memory with the numbers where a stage of this many bytes, weights included, is more than the caller's bound.
    void require_bound(uint64_t bytes, const std::string & what) const;

    /// Bytes claimed by runs.
    uint64_t claimed() const { return *claims_; }
    const MemoryClaim::Total & claims() const { return claims_; }

    /// Names of the parts that run_finite() made float32.
    std::vector<std::string> float32_parts() const;
    /// Milliseconds spent reading weights in use().
    double load_ms() const { return load_ms_; }
    /// { parts, compute, total } in bytes, as of the latest refresh_usage(); from any thread.
    Json usage() const;
    void refresh_usage();

private:
    void make_room_for(const models::Network & network);
    /// `other` stays as it is while `network` works.
    bool is_host(const models::Network & network, const models::Network & other) const;

    graph::DevicePtr device_;
    Options options_;
    std::vector<models::Network *> parts_;
    const models::Network * companion_ = nullptr;
    std::vector<const models::Network *> hosts_;
    bool one_part_at_a_time_ = false;
    uint64_t spare_ = 0;  // bytes that are taken now and will not be
    MemoryClaim::Total claims_;
    double load_ms_ = 0;
    std::function<void(const JobContext &)> before_use_;

    mutable std::mutex usage_mutex_;
    Json usage_;
};

/// A part in a sentence: "The U-Net".
std::string title_of(const models::Network & network);

}  // namespace latent::pipeline
