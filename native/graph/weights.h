#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/parameters.h"
#include "graph/device.h"
#include "graph/weight_storage.h"

namespace latent::graph {

class AdapterWeights;

// Layers are declared in core/parameters.h; Ops computes with them.
using latent::Conv;
using latent::Embedding;
using latent::Linear;
using latent::Norm;
using latent::Role;
using latent::Scope;

/// The element types in which weights are kept.
struct WeightPolicy {
    Precision precision = Precision::fast;
    /// fast only: f32, f16, bf16 or a block type; unset: as stored. Ignored by exact (all f32).
    /// i8: signed bytes with a scale per output channel, packed for products in 8-bit integers (kernels/int8.h); sensitive or
    /// small matrices, and devices other than the CPU with our kernels, ignore it.
    std::optional<DType> dtype;
};

/// The weights of one part of a model ("unet", "textEncoder", "vae").
///   declare parameters (a network's constructor) -> plan(source): headers only -> load() <-> unload() any number of times.
/// If a block type is requested, sensitive matrices and rows that do not divide into blocks keep more bits: core/weight_type.h.
class WeightStore {
public:
    /// `float32_products`: the part is computed in float32 regardless of the policy. Text encoders are a thousandth of the work,
    /// and their errors affect every step.
    WeightStore(DevicePtr device, std::string part, bool float32_products = false);
    ~WeightStore();
    WeightStore(const WeightStore &) = delete;
    WeightStore & operator=(const WeightStore &) = delete;

    const std::string & part() const { return part_; }
    const DevicePtr & device() const { return device_; }
    bool float32_products() const { return float32_products_; }

    /// The parameters that the network declares, before plan().
    ParameterList & declared() { return list_; }
    const std::vector<std::unique_ptr<Parameter>> & parameters() const { return list_.all(); }
    /// By canonical name, nullptr if there is none.
    const Parameter * find(const std::string & name) const { return list_.find(name); }

    /// Matches every parameter to a tensor of `source` and decides its resident type; reads no weights. Throws model_format
    /// listing missing names and wrong shapes. 4-, 3- and 2-D forms of the same matrix are accepted. May be called again with
    /// another policy or source; unloads first.
    void plan(TensorSourcePtr source, const WeightPolicy & policy = {});
    bool planned() const { return source_ != nullptr; }

    /// Reads and converts every weight, one tensor at a time; those whose stored type is the resident type are used in place from
    /// the mapped file if the device supports it. Reports Phase::load in bytes, [progress_base, progress_base + bytes()) of
    /// `progress_total` (0: bytes()). Throws out_of_memory before reading if it will not fit; if aborted, it stays unloaded.
    void load(const JobContext & job, uint64_t progress_base = 0, uint64_t progress_total = 0);
    void unload();
    bool loaded() const { return loaded_; }
    /// Throws io if the file has lost weights that are used in place or still to be read: TensorSource::check_files.
    void check_files() const {
        if (source_ && (!loaded_ || lies_in_file_)) source_->check_files();
    }
    /// Lets the system drop the pages of weights that are used in place until they are used again; they stay loaded.
    void rest();

    // Streaming: a part that does not fit in memory reads its large weights from the mapped file again in every evaluation.
    // Graphs ask for each before its use and drop it afterwards (WeightStream).

    /// Bytes of the large weights that lie in the mapped file, which need not stay in memory.
    uint64_t streamable_bytes() const;
    /// Bytes that are resident at least: everything else, and one of these weights at a time. bytes() if nothing can be streamed.
    uint64_t least_bytes() const;
    /// Keeps as many weights as `bytes`, at least least_bytes(), have room for, and streams the others; UINT64_MAX: all stay.
    /// What is already in memory and will be streamed is dropped. Returns whether other weights are streamed than before.
    bool keep_within(uint64_t bytes);
    /// bytes() without those that are streamed.
    uint64_t kept_bytes() const { return bytes() - sum_of(streamed_); }
    /// Bytes that keep_within(bytes) would stream.
    uint64_t streamed_bytes(uint64_t bytes) const { return sum_of(streamed_if(bytes)); }
    bool streams() const { return !streamed_.empty(); }
    bool streams(const Parameter & parameter) const { return streams() && streamed_[parameter.source_index]; }
    void advise(const Parameter & parameter, PageHint hint) const {
        source_->advise(source_->tensors()[parameter.source_index], hint);
    }

    /// What will be read from the file: the weights that graphs use in place, or else those that load() has yet to copy.
    std::vector<FileRange> still_read(bool in_place) const;

    /// Called before a graph reads the weights.
    void touch() const { touched_ = true; }
    /// Changes whenever tensors move; graphs built before are then stale.
    uint64_t generation() const { return generation_; }

    /// The values of a loaded float32 parameter, on any device.
    std::vector<float> values(const Parameter & parameter) const;

    /// Sets the adapters' weights for the network; null: none. Graphs built before are then stale.
    void set_adapter(std::shared_ptr<const AdapterWeights> adapter);
    const std::shared_ptr<const AdapterWeights> & adapter() const { return adapter_; }
    /// Bytes of the adapters, which stay while the weights are unloaded.
    uint64_t adapter_bytes() const;
    /// Where the weights are read from, null before plan().
    const TensorSourcePtr & source() const { return source_; }

    uint64_t parameter_count() const;  // elements
    /// Bytes of all resident weights, including mapped ones and adapters; known after plan().
    uint64_t bytes() const { return own_bytes() + adapter_bytes(); }
    /// The share of these used in place from the file (page cache, not heap); known after plan().
    uint64_t mapped_bytes() const;
    /// Bytes per resident type, known after plan().
    std::map<DType, uint64_t> bytes_by_dtype() const;
    const WeightPolicy & policy() const { return policy_; }

private:
    uint64_t own_bytes() const;
    bool streamable(const Parameter & parameter) const;
    std::vector<bool> streamed_if(uint64_t bytes) const;
    uint64_t sum_of(const std::vector<bool> & streamed) const;
    uint64_t largest_streamable() const;
    DType choose_dtype(const Parameter & parameter, DType stored) const;
    bool could_lie_in_file(const Parameter & parameter) const;
    bool in_place(const Parameter & parameter) const { return in_place_ && could_lie_in_file(parameter); }
    void check_shapes() const;
    void allocate();
    void load_one(const Parameter & parameter);

    DevicePtr device_;
    std::string part_;
    ParameterList list_;
    TensorSourcePtr source_;
    WeightPolicy policy_;
    bool float32_products_;
    std::unique_ptr<WeightStorage> storage_;
    std::shared_ptr<const AdapterWeights> adapter_;
    bool in_place_ = false;      // this part reads weights from the mapped file; see plan()
    bool lies_in_file_ = false;  // and it has such weights
    bool loaded_ = false;
    std::optional<uint64_t> kept_;  // of keep_within(); unset: the choice is out of date
    std::vector<bool> streamed_;    // by the source's index; empty: none
    mutable bool touched_ = false;
    uint64_t generation_ = 0;
};

}  // namespace latent::graph
