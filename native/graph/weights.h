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

/// Which element types weights are kept in.
struct WeightPolicy {
    Precision precision = Precision::fast;
    /// fast only: f32, f16, bf16 or a block type; unset: as stored. Ignored by exact (all f32).
    /// i8: signed bytes with a scale per output channel, packed for products in 8-bit integers (kernels/int8.h); matrices that
    /// are sensitive or small, and devices other than our kernels on the CPU, keep what they would have without.
    std::optional<DType> dtype;
};

/// The weights of one part of a model ("unet", "textEncoder", "vae").
///   declare parameters (a network's constructor) -> plan(source): headers only -> load() <-> unload() any number of times.
/// Where a block type is asked for, sensitive matrices and rows that do not divide keep more bits: core/weight_type.h.
class WeightStore {
public:
    /// `float32_products`: the part is computed in float32 whatever the policy says. Text encoders are a thousandth of the work
    /// and every error of theirs reaches every step.
    WeightStore(DevicePtr device, std::string part, bool float32_products = false);
    ~WeightStore();
    WeightStore(const WeightStore &) = delete;
    WeightStore & operator=(const WeightStore &) = delete;

    const std::string & part() const { return part_; }
    const DevicePtr & device() const { return device_; }
    bool float32_products() const { return float32_products_; }

    /// What the network declares, before plan().
    ParameterList & declared() { return list_; }
    const std::vector<std::unique_ptr<Parameter>> & parameters() const { return list_.all(); }
    /// By canonical name, nullptr where there is none.
    const Parameter * find(const std::string & name) const { return list_.find(name); }

    /// Matches every parameter to a tensor of `source` and fixes its resident type; reads no weights. Throws model_format that
    /// lists missing names and wrong shapes. 4-, 3- and 2-D forms of the same matrix are accepted. May be called again (other
    /// policy or source): unloads first.
    void plan(TensorSourcePtr source, const WeightPolicy & policy = {});
    bool planned() const { return source_ != nullptr; }

    /// Reads, converts and places every weight, one tensor at a time; those whose stored type is the resident one are used in
    /// place from the mapped file where the device can. Reports Phase::load in bytes, [progress_base, progress_base + bytes()) of
    /// `progress_total` (0: bytes()). Throws out_of_memory before reading when it will not fit; aborted leaves it unloaded.
    void load(const JobContext & job, uint64_t progress_base = 0, uint64_t progress_total = 0);
    void unload();
    bool loaded() const { return loaded_; }
    /// Throws io where the file has lost weights that are used in place or still to be read: TensorSource::check_files.
    void check_files() const {
        if (source_ && (!loaded_ || lies_in_file_)) source_->check_files();
    }
    /// Lets the system take back the pages of weights that are used in place, until they are used again: still loaded, not
    /// resident.
    void rest();
    /// Graphs say that they are about to read the weights.
    void touch() const { touched_ = true; }
    /// Changes whenever tensors get other addresses; graphs built before are stale.
    uint64_t generation() const { return generation_; }

    /// The values of a loaded float32 parameter, from wherever they are.
    std::vector<float> values(const Parameter & parameter) const;

    /// What adapters add to the network from now on; null: nothing. Graphs built before are stale.
    void set_adapter(std::shared_ptr<const AdapterWeights> adapter);
    const AdapterWeights * adapter() const { return adapter_.get(); }
    /// Bytes of the adapters, which stay while the weights are unloaded.
    uint64_t adapter_bytes() const;
    /// Where the weights are read from, null before plan().
    const TensorSourcePtr & source() const { return source_; }

    uint64_t parameter_count() const;  // elements
    /// Bytes of all resident weights, mapped ones and those of adapters included; known once planned.
    uint64_t bytes() const { return own_bytes() + adapter_bytes(); }
    /// Of those, bytes that are used in place from the file (page cache, not heap); known once planned.
    uint64_t mapped_bytes() const;
    /// Bytes per resident type, once planned.
    std::map<DType, uint64_t> bytes_by_dtype() const;
    const WeightPolicy & policy() const { return policy_; }

private:
    uint64_t own_bytes() const;
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
    bool lies_in_file_ = false;  // and there are some
    bool loaded_ = false;
    mutable bool touched_ = false;
    uint64_t generation_ = 0;
};

}  // namespace latent::graph
