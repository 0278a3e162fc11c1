#include "pipeline/memory/part_residency.h"

#include <algorithm>

#include "core/log.h"
#include "core/memory.h"
#include "core/parts.h"
#include "pipeline/messages.h"

namespace latent::pipeline {

namespace {

/// After a pause this long, the system may have given the page cache to others.
constexpr std::chrono::seconds kPause{30};

}  // namespace

std::string title_of(const models::Network & network) {
    return part_title(network.weights().part());
}

PartResidency::PartResidency(graph::DevicePtr device, Options options, MemoryClaim::Total claims)
    : device_(std::move(device)),
      options_(std::move(options)),
      claims_(claims ? std::move(claims) : std::make_shared<std::atomic<uint64_t>>(0)) {}

void PartResidency::add(models::Network & network) {
    parts_.push_back(&network);
    network.on_shortage([this, &network] { return on_shortage(network); });
}

void PartResidency::accompany(const models::Network & network, const models::Network & host) {
    companion_ = &network;
    hosts_.push_back(&host);
}

bool PartResidency::is_host(const models::Network & network, const models::Network & other) const {
    return companion_ == &network && std::find(hosts_.begin(), hosts_.end(), &other) != hosts_.end();
}

void PartResidency::settle() {
    uint64_t heap = 0, largest_mapped = 0;
    for (const models::Network * network : parts_) {
        heap += network->weights().bytes() - network->weights().mapped_bytes();
        largest_mapped = std::max(largest_mapped, network->weights().mapped_bytes());
    }
    const uint64_t bound = options_.max_bytes, budget = working_budget(bound, 0, device_->available());
    one_part_at_a_time_ = settled_turns_ =
        options_.memory == "low" || (options_.memory == "auto" && (heap > budget || (bound && heap + largest_mapped > bound)));
}

// Memory "fast" keeps graphs for the next image, but a slower one is better than none.
bool PartResidency::on_shortage(const models::Network & network) {
    if (!keeps_all()) return take_turns(network);
    const bool freed = free_graphs_beside(network);
    if (freed) refresh_usage();
    return freed;
}

// Weights may be read again from a file at any time. The host's memory is the system's to give, which drops mapped weights
// itself.
bool PartResidency::take_turns(const models::Network & network) {
    if (options_.memory != "auto" || one_part_at_a_time_ || device_->shares_host_memory()) return false;
    log(LogLevel::info, title_of(network) + " does not fit beside the weights of the other parts: from now on they take turns");
    one_part_at_a_time_ = true;
    make_room_for(network);
    refresh_usage();
    return true;
}

void PartResidency::suppose(uint64_t max_bytes, uint64_t spare) {
    options_.max_bytes = max_bytes;
    spare_ = spare;
    settle();
}

// ---- using parts -----------------------------------------------------------------------------------------------------

void PartResidency::load(const JobContext & job) {
    for (const models::Network * network : parts_) {
        const WeightUse least = can_stream(*network) ? WeightUse::streamed : WeightUse::whole;
        require_bound(bytes_with(*network, least), title_of(*network));
    }
    read_ahead();
    if (one_part_at_a_time_) return;
    uint64_t total = 0, done = 0;
    for (models::Network * network : parts_) total += network->weights().bytes();
    for (models::Network * network : parts_) {
        if (!network->weights().loaded()) load_weights(*network, job, done, total);
        if (one_part_at_a_time_) return;
        done += network->weights().bytes();
    }
    refresh_usage();
}

/// With the memory of the other parts where it does not fit beside them after all: a driver may report memory as free that is
/// not, and other programs use a GPU too.
void PartResidency::load_weights(models::Network & network, const JobContext & job, uint64_t done, uint64_t total) {
    try {
        network.weights().load(job, done, total);
        return;
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || !on_shortage(network)) throw;
    }
    network.weights().load(job, done, total);
    refresh_usage();
}

void PartResidency::use(models::Network & network, const JobContext & job, std::optional<KeptWeights> weights) {
    prepare(network, job);
    if (!weights && use_of(network) == WeightUse::streamed) weights = KeptWeights{true, network.weights().least_bytes()};
    keep_within(network, weights.value_or(KeptWeights{}));
}

void PartResidency::prepare(models::Network & network, const JobContext & job) {
    if (before_use_) before_use_(job);
    if (std::chrono::steady_clock::now() - used_ > kPause) read_ahead();
    used_ = std::chrono::steady_clock::now();
    make_room_for(network);
    network.weights().check_files();
    if (network.weights().loaded()) return;
    const auto start = std::chrono::steady_clock::now();
    load_weights(network, job);
    load_ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    refresh_usage();
}

void PartResidency::read_ahead() {
    used_ = std::chrono::steady_clock::now();
    std::vector<FileRange> ranges;
    // load() reads first what it copies, which is spread over the file and would wait for the rest.
    for (const bool in_place : {false, true}) {
        for (const models::Network * network : parts_) {
            for (FileRange & range : network->weights().still_read(in_place)) ranges.push_back(std::move(range));
        }
    }
    read_ahead_.start(std::move(ranges), available_memory());
}

/// Frees the graphs of other parts and returns the pages of their mapped weights (memory "fast" keeps both); if parts take turns,
/// frees their weights too.
void PartResidency::make_room_for(const models::Network & network) {
    if (keeps_all()) return;
    const bool freed = free_graphs_beside(network);
    for (models::Network * other : parts_) {
        if (other == &network || !other->weights().loaded() || is_host(network, *other)) continue;
        other->weights().rest();
        if (one_part_at_a_time_) other->weights().unload();
    }
    if (freed) trim_heap();
}

bool PartResidency::free_graphs_beside(const models::Network & network) {
    bool freed = false;
    for (models::Network * other : parts_) {
        if (other == &network || is_host(network, *other)) continue;
        freed = freed || other->runner().bytes() > 0;
        other->runner().clear();
    }
    return freed;
}

void PartResidency::run_finite(models::Network & network, const std::function<Span<const float>()> & run) {
    const std::string part = network.weights().part();
    const auto finite = [&] {
        const Span<const float> out = run();
        used_ = std::chrono::steady_clock::now();
        network.weights().check_files();  // the result may have been computed from data that the file no longer has
        return all_finite(out);
    };
    if (finite()) return;
    if (options_.precision != graph::Precision::exact && !network.runner().limits().float32) {
        log(LogLevel::warn, "The " + part + " produced values that are not finite; continuing in float32");
        set_float32(network, true);
        if (finite()) return;
        set_float32(network, false);  // the next call may have other input
    }
    const std::string cause = network.weights().adapter()
                                  ? "the weight of an adapter is too large for this model, the model is damaged, or its input is "
                                    "far too large (a guidance scale, noise). Lower the adapters' weights, or leave them out"
                                  : "its weights are damaged, or its input is far too large (a guidance scale, noise). Check the "
                                    "file against its checksum, or download it again";
    throw Error(ErrorCode::model_format, "The " + part + " produces values that are not finite, even in float32: " + cause,
                Json{{"part", part}}.dump());
}

void PartResidency::set_float32(models::Network & network, bool on) {
    graph::Runner::Limits limits = network.runner().limits();
    if (limits.float32 == on) return;
    limits.float32 = on;
    network.runner().set_limits(limits);
}

std::vector<std::string> PartResidency::float32_parts() const {
    std::vector<std::string> names;
    for (const models::Network * network : parts_) {
        const std::string & name = network->weights().part();
        const bool named = std::find(names.begin(), names.end(), name) != names.end();
        if (network->runner().limits().float32 && !named) names.push_back(name);
    }
    return names;
}

void PartResidency::unload() {
    read_ahead_.stop();
    for (models::Network * network : parts_) {
        network->runner().clear();
        network->weights().unload();
    }
    trim_heap();
    refresh_usage();
}

// ---- counting --------------------------------------------------------------------------------------------------------

bool PartResidency::can_stream(const models::Network & network) const {
    const auto shrinks = [&](const models::Network * each) {
        return (each == &network || is_host(network, *each)) && each->weights().least_bytes() < each->weights().bytes();
    };
    return bound() > 0 && std::any_of(parts_.begin(), parts_.end(), shrinks);
}

PartResidency::WeightUse PartResidency::use_of(const models::Network & network) const {
    if (!can_stream(network)) return WeightUse::whole;
    const uint64_t graph = measure_graph_ ? measure_graph_(network) : 0;
    return bytes_with(network) + graph > bound() ? WeightUse::streamed : WeightUse::whole;
}

uint64_t PartResidency::least_to_load() const {
    uint64_t most = 0;
    for (const models::Network * network : parts_) {
        most = std::max(most, bytes_with(*network, can_stream(*network) ? WeightUse::streamed : WeightUse::whole));
    }
    return most;
}

KeptWeights PartResidency::room_for(const models::Network & network, uint64_t planned) const {
    const uint64_t room = network.weights().least_bytes() + (bound() - std::min(bound(), planned));
    return {true, std::min(room, network.weights().bytes())};
}

void PartResidency::keep_within(models::Network & network, const KeptWeights & kept) {
    if (network.weights().keep_within(kept.bytes)) refresh_usage();
    if (!kept.streamed) return;
    for (models::Network * other : parts_) {
        if (is_host(network, *other)) other->weights().rest();
    }
}

uint64_t PartResidency::host_graph_bytes(const models::Network & network) const {
    uint64_t total = 0;
    for (const models::Network * other : parts_) {
        if (is_host(network, *other)) total += other->runner().bytes();
    }
    return total;
}

uint64_t PartResidency::bytes_with(const models::Network & network, WeightUse use) const {
    const bool streamed = use == WeightUse::streamed;
    uint64_t held = streamed ? network.weights().least_bytes() : network.weights().bytes(), host = 0;
    for (const models::Network * other : parts_) {
        if (other == &network) continue;
        const graph::WeightStore & weights = other->weights();
        const uint64_t kept = one_part_at_a_time_ ? weights.adapter_bytes()
                              : keeps_all()       ? weights.bytes()
                                                  : weights.bytes() - weights.mapped_bytes();
        held += kept;
        const uint64_t own = weights.bytes() - weights.mapped_bytes();
        if (is_host(network, *other)) host = std::max(host, (streamed ? std::max(own, kept) : weights.bytes()) - kept);
    }
    return held + host;
}

uint64_t PartResidency::available_to(const models::Network & network) const {
    const uint64_t available = device_->available();
    return available == UINT64_MAX ? available : available + device_->reusable() + network.runner().bytes() + spare_;
}

void PartResidency::require_bound(uint64_t bytes, const std::string & what) const {
    if (options_.max_bytes == 0 || bytes <= options_.max_bytes) return;
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + mebibytes(bytes) + " in total, memory.maxBytes allows " + mebibytes(options_.max_bytes),
                Json{{"required", bytes}, {"available", options_.max_bytes}}.dump());
}

void PartResidency::refresh_usage() {
    Json parts = Json::object();
    uint64_t weights = 0, compute = 0;
    for (const models::Network * network : parts_) {
        const uint64_t bytes = network->weights().loaded() ? network->weights().kept_bytes() : network->weights().adapter_bytes();
        parts[network->weights().part()] = parts.value(network->weights().part(), uint64_t{0}) + bytes;
        weights += bytes;
        compute += network->runner().bytes();
    }
    const std::lock_guard<std::mutex> lock(usage_mutex_);
    usage_ = {{"parts", parts}, {"compute", compute}, {"total", weights + compute}};
}

Json PartResidency::usage() const {
    const std::lock_guard<std::mutex> lock(usage_mutex_);
    return usage_;
}

}  // namespace latent::pipeline
