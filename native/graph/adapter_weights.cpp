#include "graph/adapter_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

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

/// The name shared by layers that usually read the same values, or the layer's own. Others with the same name lose only time:
/// each reads its own rows of the product.
std::string input_of(const Parameter & target) {
    constexpr const char * names[][2] = {{".attn1.to_q.weight", ".attn1.qkv"},
                                         {".attn1.to_k.weight", ".attn1.qkv"},
                                         {".attn1.to_v.weight", ".attn1.qkv"},
                                         {".attn2.to_k.weight", ".attn2.kv"},
                                         {".attn2.to_v.weight", ".attn2.kv"},
                                         {".self_attn.q_proj.weight", ".self_attn.qkv"},
                                         {".self_attn.k_proj.weight", ".self_attn.qkv"},
                                         {".self_attn.v_proj.weight", ".self_attn.qkv"}};
    for (const auto & [ending, shared] : names) {
        const size_t length = std::strlen(ending);
        if (target.name.size() <= length || target.name.compare(target.name.size() - length, length, ending) != 0) continue;
        return target.name.substr(0, target.name.size() - length) + shared + std::to_string(target.inner());
    }
    return target.name;
}

std::string layer_of(const std::string & name) {
    return name.substr(0, name.rfind('.'));
}

}  // namespace

AdapterWeights::Change & AdapterWeights::declare(const WeightStore & base, const ParameterChange & change) {
    const Parameter * target = base.find(change.parameter);
    const auto misfit = [&] { return Error(ErrorCode::internal, "An adapter does not fit \"" + change.parameter + "\""); };
    if (!target) {  // a bias for a layer that has none
        const Parameter * weight = base.find(layer_of(change.parameter) + ".weight");
        if (!weight || static_cast<int64_t>(change.whole.size()) != weight->rows()) throw misfit();
        Parameter bias;
        bias.name = change.parameter, bias.shape = {weight->rows()}, bias.role = Role::bias;
        Change & entry = changes_[weight->name];
        entry.bias = store_.declared().add(std::move(bias));
        return entry;
    }
    Change & entry = changes_[target->name];
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
    Parameter up;
    up.name = target->name + ".up", up.shape = {target->rows(), change.rank}, up.role = target->role, up.least_bits = 16;
    if (target->role == Role::conv) up.shape.insert(up.shape.end(), {1, 1});
    entry.side.up = store_.declared().add(std::move(up)), entry.side.rank = change.rank;
    return entry;
}

/// add(parameter, values) keeps the values.
template <typename Add>
void AdapterWeights::declare_transform(const Parameter & target, const ParameterChange & change, Transform & to, Add add) {
    const auto declare = [&](const std::string & ending, std::vector<int64_t> shape, Role role,
                             const std::vector<float> & values) {
        Parameter own;
        own.name = target.name + ending, own.shape = std::move(shape), own.role = role, own.least_bits = 16;
        if (own.elements() != static_cast<int64_t>(values.size()))
            throw Error(ErrorCode::internal, "An adapter does not fit \"" + target.name + "\"");
        const Parameter * parameter = store_.declared().add(std::move(own));
        add(parameter, values);
        return parameter;
    };
    const auto gain = [&](const char * ending, int64_t size, const std::vector<float> & values) -> const Parameter * {
        return values.empty() ? nullptr : declare(ending, {size}, Role::norm, values);
    };
    to.gain = gain(".gain", target.rows(), change.gain);
    to.input_gain = gain(".input_gain", target.shape[1], change.input_gain);
    const auto blocks = [&](const char * ending, const std::vector<BlockMatrix> & matrices,
                            std::vector<BlockProduct> & products) {
        for (const BlockMatrix & matrix : matrices) {
            const std::string name = ending + std::to_string(products.size());
            const std::vector<int64_t> shape = {matrix.stored() * matrix.order.size, matrix.order.size};
            products.push_back({declare(name, shape, Role::linear, matrix.numbers), matrix.order});
        }
    };
    blocks(".before.", change.before, to.before);
    blocks(".after.", change.after, to.after);
    for (const KroneckerProduct & product : change.products) {
        const std::string name = ".kronecker." + std::to_string(to.products.size());
        Transform::Product own;
        own.first = declare(name, {product.rows, product.columns}, Role::bias, product.first);
        for (const KroneckerProduct::Factor & factor : product.second) {
            const std::string ending = name + "." + std::to_string(own.second.size());
            own.second.push_back(declare(ending, {factor.rows, factor.columns}, Role::linear, factor.numbers));
        }
        to.products.push_back(std::move(own));
    }
}

int64_t AdapterWeights::rows_of(const Stack & stack, DType type) {
    return static_cast<int64_t>(stack.bytes.size()) / (stack.down.inner() * dtype_block_bytes(type));
}

/// Appends the rows of a change, to a multiple of what the home's products read together.
void AdapterWeights::stack(Stack & stack, DType type, const Parameter & target, Side & side, ParameterChange & change) const {
    const int64_t inner = target.inner(), together = home_for(store_.device()->kind()).low_rank_rows();
    if (stack.users.empty()) {
        stack.down.name = target.name + ".down", stack.down.shape = target.shape, stack.down.role = target.role;
        stack.down.least_bits = 16;
    }
    const int64_t rows = (change.rank + together - 1) / together * together;
    change.down.resize(static_cast<size_t>(rows * inner));
    const std::vector<uint8_t> bytes = as_bytes(change.down, type);
    side.first = rows_of(stack, type);
    stack.bytes.insert(stack.bytes.end(), bytes.begin(), bytes.end());
    stack.users.push_back(&side);
}

AdapterWeights::AdapterWeights(const WeightStore & base, const Changes & changes, const JobContext & job)
    : store_(base.device(), base.part(), base.float32_products()) {
    const Device & device = *base.device();
    const DType matrices = base.policy().precision == Precision::exact ? DType::f32 : DType::f16;
    const auto source = std::make_shared<HostSource>();
    const auto add = [&](const Parameter * parameter, const std::vector<float> & values) {
        const DType type = parameter->is_matrix() ? matrices : DType::f32;
        device.require(values.size() * static_cast<uint64_t>(dtype_block_bytes(type)), "Adapters of the " + base.part());
        source->add(parameter->name, type, parameter->shape, as_bytes(values, type));
    };
    std::map<std::string, Stack> stacks;
    for (ParameterChange change; changes(change); change = {}) {
        job.check();
        Change & entry = declare(base, change);
        if (!change.whole.empty()) add(base.find(change.parameter) ? entry.whole : entry.bias, change.whole);
        const bool transforms = !change.gain.empty() || !change.input_gain.empty() || !change.before.empty() ||
                                !change.after.empty() || !change.products.empty();
        entry.transforms = entry.transforms || transforms;  // a bias may share the entry
        if (transforms) declare_transform(*base.find(change.parameter), change, entry.transform, add);
        if (change.rank == 0) continue;
        if (matrices == DType::f16) balance(change);
        const Parameter & target = *base.find(change.parameter);
        device.require(change.down.size() * static_cast<uint64_t>(dtype_block_bytes(matrices)), "Adapters of the " + base.part());
        stack(stacks[input_of(target)], matrices, target, entry.side, change);
        add(entry.side.up, change.up);
    }
    for (auto & [name, stack] : stacks) {
        stack.down.shape[0] = rows_of(stack, matrices);
        const Parameter * down = store_.declared().add(std::move(stack.down));
        for (Side * side : stack.users) side->down = down;
        source->add(down->name, matrices, down->shape, std::move(stack.bytes));
    }
    source->finish();
    WeightPolicy policy;
    policy.precision = base.policy().precision;
    store_.plan(source, policy);
    store_.load(job);
}

const AdapterWeights::Side * AdapterWeights::side(const Parameter * weight) const {
    const auto found = changes_.find(weight->name);
    return found == changes_.end() || found->second.side.rank == 0 ? nullptr : &found->second.side;
}

const AdapterWeights::Transform * AdapterWeights::transform(const Parameter * weight) const {
    const auto found = changes_.find(weight->name);
    return found == changes_.end() || !found->second.transforms ? nullptr : &found->second.transform;
}

const Parameter * AdapterWeights::replaced(const Parameter * parameter) const {
    if (!parameter) return nullptr;  // a norm without weights
    const auto found = changes_.find(parameter->name);
    return found == changes_.end() || !found->second.whole ? parameter : found->second.whole;
}

const Parameter * AdapterWeights::bias_of(const Parameter * weight, const Parameter * bias) const {
    if (bias) return replaced(bias);
    const auto found = changes_.find(weight->name);
    return found == changes_.end() ? nullptr : found->second.bias;
}

}  // namespace latent::graph
