#include "graph/weights.h"

#include <algorithm>

#include "core/json.h"
#include "core/text.h"
#include "core/weight_type.h"
#include "graph/adapter_weights.h"
#include "graph/home.h"

namespace latent::graph {

namespace {

/// Whether two shapes describe the same rows: dimensions of 1 dropped, or, for a convolution, taps flattened.
bool same_matrix(const Parameter & parameter, const std::vector<int64_t> & stored) {
    std::vector<int64_t> a, b;
    for (const int64_t n : parameter.shape) {
        if (n != 1) a.push_back(n);
    }
    for (const int64_t n : stored) {
        if (n != 1) b.push_back(n);
    }
    if (a == b) return true;
    return parameter.role == Role::conv && stored.size() == 2 && stored[0] == parameter.rows() && stored[1] == parameter.inner();
}

/// Pages around the weights in use: a fault maps its neighbours.
constexpr uint64_t kStreamSlack = uint64_t{4} << 20;

/// Whether int8 products pay off: a large enough matrix, not sensitive, that is applied to more than one token (projections of
/// the time embedding are little work and affect everything).
bool takes_int8(const Parameter & parameter) {
    constexpr int64_t kLeast = 16, kMostTaps = 49;  // channels; the first and last layers have fewer
    const bool product = parameter.role == Role::conv || parameter.role == Role::linear;
    const bool one_token = parameter.name.find(".emb_layers.") != std::string::npos;
    return product && parameter.least_bits == 0 && !one_token && parameter.rows() >= kLeast && parameter.shape[1] >= kLeast &&
           parameter.inner() / parameter.shape[1] <= kMostTaps;
}

}  // namespace

WeightStore::WeightStore(DevicePtr device, std::string part, bool float32_products)
    : device_(std::move(device)),
      part_(std::move(part)),
      float32_products_(float32_products),
      storage_(home_for(device_->kind()).open_weights(device_)) {}

WeightStore::~WeightStore() = default;

DType WeightStore::choose_dtype(const Parameter & parameter, DType stored) const {
    if (policy_.precision == Precision::exact || !parameter.is_matrix()) return DType::f32;
    std::optional<DType> asked = policy_.dtype;
    if (asked == DType::i8) {
        if (takes_int8(parameter) && home_for(device_->kind()).packs(DType::i8)) return DType::i8;
        asked.reset();
    }
    const bool whole_rows = parameter.inner() % dtype_block(stored) == 0;
    const DType wanted = asked.value_or(running_type(stored, whole_rows));
    if (wanted == stored && whole_rows) return wanted;
    return weight_type(parameter, wanted);
}

void WeightStore::check_shapes() const {
    std::vector<std::string> missing, wrong;
    for (const auto & parameter : parameters()) {
        const TensorInfo * info = source_->find(parameter->name);
        if (!info) {
            if (!parameter->optional) missing.push_back("\"" + parameter->name + "\"");
        } else if (!same_matrix(*parameter, info->shape) || parameter->elements() % dtype_block(info->dtype) != 0) {
            wrong.push_back("\"" + parameter->name + "\" (" + dtype_name(info->dtype) + " " + shape_text(info->shape) +
                            ", expected " + shape_text(parameter->shape) + ")");
        }
    }
    if (missing.empty() && wrong.empty()) return;
    std::string message = source_->name() + " does not match the " + part_ + " of its configuration.";
    if (!missing.empty()) message += " Missing: " + first_of(missing) + ".";
    if (!wrong.empty()) message += " Wrong shape: " + first_of(wrong) + ".";
    throw Error(ErrorCode::model_format, message, Json{{"part", part_}, {"missing", missing}, {"wrong", wrong}}.dump());
}

void WeightStore::plan(TensorSourcePtr source, const WeightPolicy & policy) {
    const Home & home = home_for(device_->kind());
    if (policy.precision == Precision::exact && !home.is_exact(*device_)) {
        throw Error(ErrorCode::device,
                    "precision \"exact\" is float32 throughout, which the " + device_->name() +
                        " device does not support; use device \"cpu\" or precision \"fast\"" + float32_advice(*device_),
                    Json{{"device", device_->name()}, {"precision", "exact"}}.dump());
    }
    unload();
    streamed_.clear(), kept_.reset();
    for (auto & parameter : parameters()) parameter->resident.reset();
    source_ = std::move(source);
    policy_ = policy;
    try {
        check_shapes();
    } catch (...) {
        source_.reset();
        throw;
    }

    for (auto & parameter : parameters()) {
        const TensorInfo * info = source_->find(parameter->name);
        if (!info) continue;
        parameter->source_index = info->index;
        const DType stored = info->scaled_from ? DType::f16 : info->dtype;  // 8-bit values times a scale need about f16
        parameter->dtype = storage_->resident_type(*parameter, info->dtype, choose_dtype(*parameter, stored));
        parameter->resident = storage_->declare(*parameter, info->dtype);
    }
    // Reading a page of the file also loads its neighbours. If most weights are converted, using the few others (norms, biases)
    // in place would load pages that are not needed any more, so all are copied.
    uint64_t could_lie = 0;
    for (const auto & parameter : parameters()) {
        if (parameter->present() && could_lie_in_file(*parameter)) could_lie += storage_->bytes(*parameter);
    }
    in_place_ = 2 * could_lie >= own_bytes();
    lies_in_file_ = in_place_ && could_lie > 0;
    ++generation_;
}

bool WeightStore::could_lie_in_file(const Parameter & parameter) const {
    if (!device_->shares_host_memory()) return false;
    const TensorInfo & info = source_->tensors()[parameter.source_index];
    return storage_->takes_in_place(parameter, info.dtype, source_->view(info));
}

uint64_t WeightStore::parameter_count() const {
    uint64_t count = 0;
    for (const auto & parameter : parameters()) {
        if (!planned() || parameter->present()) count += static_cast<uint64_t>(parameter->elements());
    }
    return count;
}

void WeightStore::set_adapter(std::shared_ptr<const AdapterWeights> adapter) {
    if (!adapter && !adapter_) return;
    adapter_ = std::move(adapter);
    kept_.reset();  // the same limit leaves room for other weights now
    ++generation_;
}

uint64_t WeightStore::adapter_bytes() const {
    return adapter_ ? adapter_->bytes() : 0;
}

uint64_t WeightStore::own_bytes() const {
    uint64_t total = 0;
    for (const auto & parameter : parameters()) {
        if (parameter->present()) total += storage_->bytes(*parameter);
    }
    return total;
}

uint64_t WeightStore::mapped_bytes() const {
    uint64_t total = 0;
    for (const auto & parameter : parameters()) {
        if (parameter->present() && in_place(*parameter)) total += storage_->bytes(*parameter);
    }
    return total;
}

std::map<DType, uint64_t> WeightStore::bytes_by_dtype() const {
    std::map<DType, uint64_t> by_type;
    for (const auto & parameter : parameters()) {
        if (parameter->present()) by_type[parameter->dtype] += storage_->bytes(*parameter);
    }
    return by_type;
}

// In the mapped file if possible, else in memory of the device.
void WeightStore::allocate() {
    std::vector<WeightStorage::Placement> placements;
    for (const auto & parameter : parameters()) {
        if (!parameter->present()) continue;
        placements.push_back({parameter.get(), {}});
        if (in_place(*parameter)) placements.back().in_place = source_->view(source_->tensors()[parameter->source_index]);
    }
    try {
        storage_->allocate(placements);
    } catch (const std::bad_alloc &) {
        const uint64_t needed = own_bytes() - mapped_bytes();  // the system may have reported enough
        const std::string what = "Loading the weights of the " + part_;
        throw Error(
            ErrorCode::out_of_memory,
            what + " needs " + mebibytes(needed) + " of memory, which could not be allocated on " + device_->name(),
            Json{{"what", what}, {"required", needed}, {"available", device_->info().memory_free}, {"device", device_->name()}}
                .dump());
    }
}

void WeightStore::load_one(const Parameter & parameter) {
    const TensorInfo & info = source_->tensors()[parameter.source_index];
    Span<const uint8_t> stored = source_->view(info);
    std::vector<uint8_t> copy;
    if (stored.size() != info.bytes) {
        copy.resize(static_cast<size_t>(info.bytes));
        source_->read(info, copy.data());
        stored = copy;
    }
    storage_->load(parameter, info.dtype, stored);
    source_->advise(info, PageHint::evict);  // with what was mapped around it: on large pages of the cache, 2 MB for a bias
}

void WeightStore::load(const JobContext & job, uint64_t progress_base, uint64_t progress_total) {
    if (!planned()) throw Error(ErrorCode::internal, "The " + part_ + " was not planned before loading");
    if (loaded_) return;
    const uint64_t total = own_bytes(), mapped = mapped_bytes();
    if (progress_total == 0) progress_total = total;
    device_->require(total - mapped, "Loading the weights of the " + part_);
    try {
        source_->check_files();
        allocate();
        uint64_t done = 0;
        for (const auto & parameter : parameters()) {
            job.check();
            if (!parameter->present()) continue;
            if (!in_place(*parameter)) load_one(*parameter);
            done += storage_->bytes(*parameter);
            job.report(Phase::load, static_cast<int64_t>(progress_base + done), static_cast<int64_t>(progress_total));
        }
        source_->check_files();
    } catch (const std::bad_alloc &) {
        unload();
        throw Error(ErrorCode::out_of_memory, "No memory to convert a weight of the " + part_, Json{{"required", total}}.dump());
    } catch (...) {
        unload();
        throw;
    }
    loaded_ = true;
    ++generation_;
}

void WeightStore::rest() {
    if (!loaded_ || !touched_) return;
    for (const auto & parameter : parameters()) {
        if (parameter->present() && in_place(*parameter)) advise(*parameter, streams() ? PageHint::evict : PageHint::release);
    }
    touched_ = false;
}

std::vector<FileRange> WeightStore::still_read(bool in_place) const {
    std::vector<FileRange> all;
    for (const auto & parameter : parameters()) {
        if (!planned() || !parameter->present() || this->in_place(*parameter) != in_place) continue;
        if (!in_place && loaded_) continue;
        for (FileRange & place : source_->places(source_->tensors()[parameter->source_index])) all.push_back(std::move(place));
    }
    return all;
}

// ---- streaming -------------------------------------------------------------------------------------------------------

/// Norms and biases are small and lie between the matrices: they stay.
bool WeightStore::streamable(const Parameter & parameter) const {
    return parameter.present() && parameter.is_matrix() && in_place(parameter);
}

uint64_t WeightStore::streamable_bytes() const {
    uint64_t total = 0;
    for (const auto & parameter : parameters()) {
        if (streamable(*parameter)) total += storage_->bytes(*parameter);
    }
    return total;
}

uint64_t WeightStore::largest_streamable() const {
    uint64_t largest = 0;
    for (const auto & parameter : parameters()) {
        if (streamable(*parameter)) largest = std::max(largest, storage_->bytes(*parameter));
    }
    return largest;
}

uint64_t WeightStore::least_bytes() const {
    const uint64_t all = bytes(), streamable = streamable_bytes(), one = largest_streamable() + kStreamSlack;
    return streamable > one ? all - streamable + one : all;
}

/// By the source's index; empty: none.
std::vector<bool> WeightStore::streamed_if(uint64_t bytes) const {
    const uint64_t all = this->bytes(), least = bytes < all ? least_bytes() : all;
    if (least == all) return {};
    std::vector<bool> streamed(source_->tensors().size());
    uint64_t room = bytes - std::min(bytes, least);
    for (const auto & parameter : parameters()) {
        if (!streamable(*parameter)) continue;
        const uint64_t size = storage_->bytes(*parameter);
        if (size <= room) {
            room -= size;
        } else {
            streamed[parameter->source_index] = true;
        }
    }
    return streamed;
}

uint64_t WeightStore::sum_of(const std::vector<bool> & streamed) const {
    uint64_t total = 0;
    if (streamed.empty()) return total;
    for (const auto & parameter : parameters()) {
        if (parameter->present() && streamed[parameter->source_index]) total += storage_->bytes(*parameter);
    }
    return total;
}

bool WeightStore::keep_within(uint64_t bytes) {
    if (kept_ == bytes) return false;
    kept_ = bytes;
    std::vector<bool> streamed = streamed_if(bytes);
    if (streamed == streamed_) return false;
    rest();
    streamed_ = std::move(streamed);
    return true;
}

void WeightStore::unload() {
    rest();
    std::vector<const Parameter *> present;
    for (const auto & parameter : parameters()) {
        if (parameter->present()) present.push_back(parameter.get());
    }
    storage_->unload(present);
    if (loaded_) ++generation_;
    loaded_ = false;
}

std::vector<float> WeightStore::values(const Parameter & parameter) const {
    if (!loaded_ || !parameter.present() || parameter.dtype != DType::f32)
        throw Error(ErrorCode::internal, "\"" + parameter.name + "\" is not available as float32 values");
    std::vector<float> out(static_cast<size_t>(parameter.elements()));
    storage_->read(parameter, out);
    return out;
}

}  // namespace latent::graph
