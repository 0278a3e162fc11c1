#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/read_ahead.h"
#include "models/network.h"
#include "pipeline/memory/stage_plan.h"

namespace latent::pipeline {

/// Counts bytes that a run keeps between its steps, for the lifetime of the claim; it may end on any thread.
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

/// Controls which parts of a model (conditioners, denoising network, first stage) are in memory; networks with the same part name
/// (SDXL's text encoders) are reported together. Weights are read at load or, if memory is short, one part at a time; graphs and
/// mapped pages of idle parts are released.
class PartResidency {
public:
    struct Options {
        std::string memory = "auto";  // auto | fast | low
        uint64_t max_bytes = 0;       // 0: no limit
        graph::Precision precision = graph::Precision::fast;
    };

    /// `claims`: memory of concurrent runs; null: none yet.
    PartResidency(graph::DevicePtr device, Options options, MemoryClaim::Total claims = nullptr);

    /// Adds a network; parts are loaded in this order. Its weights must be planned, and settle() must follow.
    void add(models::Network & network);
    /// Adds a small part that runs between the calls of other parts (hosts) and leaves them in memory with their graphs:
    /// previews. Several hosts do not run at the same time.
    void accompany(const models::Network & network, const models::Network & host);
    /// Decides whether parts take turns in memory.
    void settle();
    /// Frees memory for a part whose weights or graph do not fit; false if there is none to free.
    bool on_shortage(const models::Network & network);
    /// For plans that are not run: another limit, and bytes that are in use now but would be free.
    void suppose(uint64_t max_bytes, uint64_t spare);

    const std::vector<models::Network *> & parts() const { return parts_; }
    const graph::DevicePtr & device() const { return device_; }
    const Options & options() const { return options_; }
    uint64_t bound() const { return options_.max_bytes; }
    bool one_part_at_a_time() const { return one_part_at_a_time_; }
    /// Whether calls are kept small, as memory "low" asks for. Where parts take turns only since one did not fit, a device
    /// without a limit shows which calls fit.
    bool saves_memory() const { return options_.max_bytes ? one_part_at_a_time_ : settled_turns_; }
    /// Whether nothing is released while memory suffices.
    bool keeps_all() const { return options_.memory == "fast" && !options_.max_bytes && !one_part_at_a_time_; }

    /// Reads the weights of all parts, unless they take turns, and lets the system read ahead those that are mapped. Throws
    /// out_of_memory if one does not fit the limit.
    void load(const JobContext & job);
    /// Called at the beginning of use().
    void before_use(std::function<void(const JobContext &)> action) { before_use_ = std::move(action); }
    /// Makes the weights of a part resident and releases other parts' memory. `weights`: as use_of() says by default.
    void use(models::Network & network, const JobContext & job, std::optional<KeptWeights> weights = {});
    /// use() without deciding how the weights are kept: keep_within() must follow, with a plan made in between.
    void prepare(models::Network & network, const JobContext & job);
    /// Runs a stage of a part, and again in float32 if its result is not finite, because 16-bit numbers overflow earlier and
    /// 8-bit ones have coarse scales. The part then stays in float32. Throws model_format if that does not help: a black image
    /// would look like a result.
    void run_finite(models::Network & network, const std::function<Span<const float>()> & run);
    /// Ends what run_finite() decided: the part's weights have changed.
    static void forget_float32(models::Network & network) { set_float32(network, false); }
    /// Frees graphs and weights.
    void unload();

    /// How the weights of the part that runs are kept.
    enum class WeightUse {
        whole,     // all in memory
        streamed,  // only WeightStore::least_bytes(); the hosts' mapped weights are dropped as well
    };
    /// Bytes of weights that are resident while a part runs: its own, those that others keep on the heap, and those of its
    /// largest host.
    uint64_t bytes_with(const models::Network & network, WeightUse use = WeightUse::whole) const;
    /// Whether a limit is set under which less of the part's weights, or of its hosts', may be kept.
    bool can_stream(const models::Network & network) const;
    /// How a part without a plan of its own (conditioners) runs: streamed if all of its weights and its graph exceed the limit.
    WeightUse use_of(const models::Network & network) const;
    /// Gives the bytes of such a part's graph.
    using MeasureGraph = std::function<uint64_t(const models::Network & network)>;
    void measure_graphs(MeasureGraph measure) { measure_graph_ = std::move(measure); }
    /// The largest bytes_with() among the parts, streamed if possible: what any limit must allow.
    uint64_t least_to_load() const;
    /// The weights that a streamed plan of `planned` bytes leaves room for.
    KeptWeights room_for(const models::Network & network, uint64_t planned) const;
    /// Keeps these weights of the part, streams its others, and makes room among the hosts if `kept` is streamed.
    void keep_within(models::Network & network, const KeptWeights & kept);
    /// Bytes of the graphs that a part's hosts hold while it runs.
    uint64_t host_graph_bytes(const models::Network & network) const;
    /// Bytes available for a part's graphs, including those that new ones would replace.
    uint64_t available_to(const models::Network & network) const;
    /// Throws out_of_memory with the numbers if a stage of this many bytes, including weights, exceeds the caller's limit.
    void require_bound(uint64_t bytes, const std::string & what) const;

    /// Bytes claimed by runs.
    uint64_t claimed() const { return *claims_; }
    const MemoryClaim::Total & claims() const { return claims_; }

    /// Names of the parts that run_finite() switched to float32.
    std::vector<std::string> float32_parts() const;
    /// Milliseconds spent reading weights in use().
    double load_ms() const { return load_ms_; }
    /// { parts, compute, total } in bytes, without streamed weights, as of the last refresh_usage(); from any thread.
    Json usage() const;
    void refresh_usage();

private:
    static void set_float32(models::Network & network, bool on);
    /// Asks for the stored weights of all parts: they may not be in the page cache yet, or no longer.
    void read_ahead();
    /// From now on parts take turns, so that this one, which does not fit beside the weights of the others, has their memory. For
    /// devices with their own memory and memory "auto"; false if there is nothing to gain.
    bool take_turns(const models::Network & network);
    void load_weights(models::Network & network, const JobContext & job, uint64_t done = 0, uint64_t total = 0);
    void make_room_for(const models::Network & network);
    /// Of parts that do not stay in memory while this one runs; whether there were any.
    bool free_graphs_beside(const models::Network & network);
    /// Whether `other` stays in memory while `network` runs.
    bool is_host(const models::Network & network, const models::Network & other) const;

    graph::DevicePtr device_;
    Options options_;
    std::vector<models::Network *> parts_;
    const models::Network * companion_ = nullptr;
    std::vector<const models::Network *> hosts_;
    std::atomic<bool> one_part_at_a_time_{false};
    std::atomic<bool> settled_turns_{false};  // by settle(), not since a part did not fit
    uint64_t spare_ = 0;                      // bytes that are in use now but will be free
    MemoryClaim::Total claims_;
    double load_ms_ = 0;
    ReadAhead read_ahead_;
    std::chrono::steady_clock::time_point used_;  // when a part last began or ended
    std::function<void(const JobContext &)> before_use_;
    MeasureGraph measure_graph_;

    mutable std::mutex usage_mutex_;
    Json usage_;
};

/// A part in a sentence: "The U-Net".
std::string title_of(const models::Network & network);

}  // namespace latent::pipeline
