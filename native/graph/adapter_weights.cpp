#include "graph/adapter_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/json.h"
#include "graph/home.h"

namespace latent::graph {
namespace {

/// Tensors in the host's memory.
class HostSource final : public TensorSource {
public:
    void add(const std::string & name, DType type, std::vector<int64_t> shape, std::vector<uint8_t> bytes) {
        TensorInfo info;
        info.name = name, info.dtype = type, info.shape = std::move(shape), info.bytes = bytes.size();
        infos_.push_back(std::move(info));
        data_.push_back(std::move(bytes));
    }
    void finish() {
        name_ = "adapters";
        set_tensors(std::move(infos_));
    }
    Span<const uint8_t> view(const TensorInfo & tensor) const override { return data_[tensor.index]; }
    void read(const TensorInfo & tensor, void * destination) const override {
        std::memcpy(destination, data_[tensor.index].data(), data_[tensor.index].size());
    }

private:
    std::vector<TensorInfo> infos_;
    std::vector<std::vector<uint8_t>> data_;
};

std::vector<uint8_t> as_bytes(const std::vector<float> & numbers, DType type) {
    std::vector<uint8_t> bytes(numbers.size() * static_cast<size_t>(dtype_block_bytes(type)));
    if (type == DType::f32) {
        std::memcpy(bytes.data(), numbers.data(), bytes.size());
        return bytes;
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
        const uint16_t half = float_to_half(numbers[i]);
        std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
    return bytes;
}

/// Scales a row of `down` and its column of `up` to the same largest value, so that neither exceeds the range of f16; their
/// product is unchanged.
void balance(ParameterChange & change) {
    const size_t rank = static_cast<size_t>(change.rank), inner = change.down.size() / rank, rows = change.up.size() / rank;
    for (size_t r = 0; r < rank; ++r) {
        float below = 0, above = 0;
        for (size_t i = 0; i < inner; ++i) below = std::max(below, std::fabs(change.down[r * inner + i]));
        for (size_t i = 0; i < rows; ++i) above = std::max(above, std::fabs(change.up[i * rank + r]));
        if (!(below > 0) || !(above > 0)) continue;
        const float factor = std::sqrt(above / below);
        for (size_t i = 0; i < inner; ++i) change.down[r * inner + i] *= factor;
        for (size_t i = 0; i < rows; ++i) change.up[i * rank + r] /= factor;
    }
}

std::string layer_of(const std::string & name) {
    return name.substr(0, name.rfind('.'));
}

}  // namespace

const AdapterWeights::Change & AdapterWeights::declare(const WeightStore & base, const ParameterChange & change) {
    const Parameter * target = base.find(change.parameter);
    const auto misfit = [&] { return Error(ErrorCode::internal, "An adapter does not fit \"" + change.parameter + "\""); };
    if (!target) {  // a bias for a layer that has none
        const Parameter * weight = base.find(layer_of(change.parameter) + ".weight");
        if (!weight || static_cast<int64_t>(change.whole.size()) != weight->rows()) throw misfit();
        Parameter bias;
        bias.name = change.parameter, bias.shape = {weight->rows()}, bias.role = Role::bias;
        Change & entry = changes_[weight];
        entry.bias = store_.declared().add(std::move(bias));
        return entry;
    }
    Change & entry = changes_[target];
    if (!change.whole.empty()) {
        if (static_cast<int64_t>(change.whole.size()) != target->elements()) throw misfit();
        Parameter whole;
        whole.name = target->name, whole.shape = target->shape, whole.role = target->role, whole.least_bits = 16;
        entry.whole = store_.declared().add(std::move(whole));
    }
    if (change.rank == 0) return entry;
    if (static_cast<int64_t>(change.down.size()) != change.rank * target->inner() ||
        static_cast<int64_t>(change.up.size()) != target->rows() * change.rank) {
        throw misfit();
    }
    Parameter down, up;
    down.name = target->name + ".down", down.shape = target->shape, down.role = target->role, down.least_bits = 16;
    down.shape[0] = change.rank;
    up.name = target->name + ".up", up.shape = {target->rows(), change.rank}, up.role = target->role, up.least_bits = 16;
    if (target->role == Role::conv) up.shape.insert(up.shape.end(), {1, 1});
    entry.side = {store_.declared().add(std::move(down)), store_.declared().add(std::move(up)), change.rank};
    return entry;
}

AdapterWeights::AdapterWeights(const WeightStore & base, const Changes & changes, const JobContext & job)
    : store_(base.device(), base.part(), base.float32_products()) {
    const Device & device = *base.device();
    if (!home_for(device.kind()).takes_adapters()) {
        throw Error(ErrorCode::device, "The " + device.name() + " device does not support adapters; use device \"cpu\"",
                    Json{{"device", device.name()}}.dump());
    }
    const DType matrices = base.policy().precision == Precision::exact ? DType::f32 : DType::f16;
    const auto source = std::make_shared<HostSource>();
    const auto add = [&](const Parameter * parameter, const std::vector<float> & values) {
        const DType type = parameter->is_matrix() ? matrices : DType::f32;
        device.require(values.size() * static_cast<uint64_t>(dtype_block_bytes(type)), "Adapters of the " + base.part());
        source->add(parameter->name, type, parameter->shape, as_bytes(values, type));
    };
    for (ParameterChange change; changes(change); change = {}) {
        job.check();
        const Change & entry = declare(base, change);
        if (!change.whole.empty()) add(entry.whole ? entry.whole : entry.bias, change.whole);
        if (change.rank == 0) continue;
        if (matrices == DType::f16) balance(change);
        add(entry.side.down, change.down);
        add(entry.side.up, change.up);
    }
    source->finish();
    WeightPolicy policy;
    policy.precision = base.policy().precision;
    store_.plan(source, policy);
    store_.load(job);
}

const AdapterWeights::Side * AdapterWeights::side(const Parameter * weight) const {
    const auto found = changes_.find(weight);
    return found == changes_.end() || found->second.side.rank == 0 ? nullptr : &found->second.side;
}

const Parameter * AdapterWeights::replaced(const Parameter * parameter) const {
    const auto found = changes_.find(parameter);
    return found == changes_.end() || !found->second.whole ? parameter : found->second.whole;
}

const Parameter * AdapterWeights::bias_of(const Parameter * weight, const Parameter * bias) const {
    if (bias) return replaced(bias);
    const auto found = changes_.find(weight);
    return found == changes_.end() ? nullptr : found->second.bias;
}

}  // namespace latent::graph
