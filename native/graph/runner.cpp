#include "graph/runner.h"

#include <algorithm>
#include <new>
#include <utility>

#include "core/json.h"
#include "graph/adapted_ops.h"
#include "graph/home.h"

namespace latent::graph {

namespace {

class HostValue final : public SavedOutput {
public:
    explicit HostValue(std::vector<float> numbers) : numbers_(std::move(numbers)) {}
    uint64_t bytes() const override { return numbers_.size() * sizeof(float); }
    std::vector<float> numbers() const override { return numbers_; }
    const std::vector<float> & held() const { return numbers_; }

private:
    std::vector<float> numbers_;
};

}  // namespace

std::unique_ptr<SavedOutput> save_on_host(std::vector<float> numbers) {
    return std::make_unique<HostValue>(std::move(numbers));
}

void Graph::take_input(const std::string & name, const Graph & from, const std::string & output) {
    std::vector<float> values(from.output_size(output));
    from.get_output(output, values);
    set_input(name, Span<const float>(values));
}

std::unique_ptr<SavedOutput> Graph::save_output(const std::string & name) const {
    std::vector<float> values(output_size(name));
    get_output(name, values);
    return save_on_host(std::move(values));
}

void Graph::set_input(const std::string & name, const SavedOutput & value) {
    if (const auto * host = dynamic_cast<const HostValue *>(&value)) {
        set_input(name, Span<const float>(host->held()));
    } else {
        const std::vector<float> values = value.numbers();
        set_input(name, Span<const float>(values));
    }
}

Span<float> Graph::host_input(const std::string &) {
    throw Error(ErrorCode::internal, "A value of the graph is not in the host's memory");
}

Span<float> Graph::host_output(const std::string & name) {
    return host_input(name);
}

Runner::Runner(DevicePtr device, const WeightStore & weights, std::string what, int keep)
    : device_(std::move(device)), weights_(&weights), what_(std::move(what)), keep_(std::max(1, keep)) {}

Runner::~Runner() = default;

std::unique_ptr<Graph> Runner::record(const GraphBuilder & build) const {
    const Home & home = home_for(device_->kind(), limits_.home);
    if (limits_.float32 && !home.is_exact(*device_)) {
        throw Error(ErrorCode::device,
                    "The " + what_ + " must be computed in float32, which the " + device_->name() +
                        " device does not support; use device \"cpu\"" + float32_advice(*device_),
                    Json{{"device", device_->name()}, {"part", what_}}.dump());
    }
    const AdapterWeights * adapter = weights_->adapter().get();
    if (!adapter) return home.build({device_, *weights_, build, limits_});
    const GraphBuilder adapted = [&](Ops & ops) {
        AdaptedOps with(ops, *adapter);
        build(with);
    };
    return home.build({device_, *weights_, adapted, limits_});
}

GraphMeasure Runner::measure(const GraphBuilder & build) const {
    if (!weights_->planned()) throw Error(ErrorCode::internal, "The " + what_ + " was measured before its weights were planned");
    return record(build)->measure();
}

Graph & Runner::prepare(const std::string & key, const GraphBuilder & build) {
    weights_->touch();
    entries_.remove_if([&](const Entry & entry) { return entry.generation != weights_->generation(); });
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry & entry) { return entry.key == key; });
    if (found != entries_.end()) {
        entries_.splice(entries_.begin(), entries_, found);
        return *entries_.front().graph;
    }
    if (!weights_->loaded()) throw Error(ErrorCode::internal, "The " + what_ + " was run before its weights were loaded");

    std::unique_ptr<Graph> graph = record(build);
    const uint64_t needed = graph->bytes_to_allocate();
    while (static_cast<int>(entries_.size()) >= keep_ || (!entries_.empty() && needed > device_->available()))
        entries_.pop_back();
    if (needed > device_->available()) device_->trim();  // memory kept for reuse
    if (make_room_ && needed > device_->available()) make_room_();
    device_->require(needed, "The " + what_ + " at this size");
    const auto allocated = [&] {
        try {
            graph->allocate();
            return true;
        } catch (const std::bad_alloc &) {
            return false;
        }
    };
    bool may_ask = static_cast<bool>(make_room_);
    while (!allocated()) {  // some drivers report memory as free that is not
        bool freed = !entries_.empty();
        entries_.clear();
        if (!freed && std::exchange(may_ask, false)) freed = make_room_();
        if (!freed) {
            throw Error(ErrorCode::out_of_memory,
                        "The " + what_ + " at this size needs " + std::to_string(needed) + " bytes, which could not be allocated",
                        Json{{"what", what_}, {"required", needed}, {"device", device_->name()}}.dump());
        }
        graph = record(build);  // the other may be allocated in part
    }
    entries_.push_front({key, weights_->generation(), std::move(graph)});
    return *entries_.front().graph;
}

void Runner::clear() {
    entries_.clear();
}

uint64_t Runner::bytes() const {
    uint64_t total = 0;
    for (const Entry & entry : entries_) total += entry.graph->bytes();
    return total;
}

void Runner::set_limits(const Limits & limits) {
    clear();
    limits_ = limits;
}

}  // namespace latent::graph
