#include "ptx/counts.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>

namespace latent_ptx {
namespace {

constexpr const char * kKinds[] = {"mma",          "ldmatrix", "shared_load", "shared_store", "global_load",
                                   "global_store", "cp_async", "integer",     "float",        "shuffle",
                                   "control",      "barrier",  "move"};

uint64_t value(const Warp & warp, int slot, size_t lane) {
    return warp.registers[static_cast<size_t>(slot)][lane];
}

double ratio(uint64_t needed, uint64_t least) {
    return least ? static_cast<double>(needed) / static_cast<double>(least) : 1.0;
}

std::string readable(const std::string & name) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                            &std::free);
    return status == 0 ? plain.get() : name;
}

class Kept {
public:
    Kept() {
        const char * path = std::getenv("LATENT_PTX_COUNTS");
        if (path) path_ = path;
    }
    ~Kept() {
        if (path_.empty()) return;
        std::ofstream file(path_);
        file << "{\"kernels\": [";
        const char * between = "\n";
        for (const auto & [name, counts] : by_name_) {
            file << between;
            counts.write(file);
            between = ",\n";
        }
        file << "\n]}\n";
    }
    Kept(const Kept &) = delete;
    Kept & operator=(const Kept &) = delete;

    bool on() const { return !path_.empty(); }
    void add(const Counts & launch, const Kernel & kernel, uint64_t blocks) {
        const std::lock_guard<std::mutex> lock(mutex_);
        by_name_.try_emplace(kernel.name, kernel).first->second.add(launch, blocks);
    }

private:
    std::string path_;
    std::mutex mutex_;
    std::map<std::string, Counts> by_name_;
};

/// The kernels outlive it, because they are made before the first launch.
Kept & kept() {
    static Kept all;
    return all;
}

}  // namespace

Kind kind_of(const std::string & mnemonic) {
    const auto begins = [&](const char * text) { return mnemonic.rfind(text, 0) == 0; };
    if (begins("mma.")) return Kind::mma;
    if (begins("ldmatrix.")) return Kind::matrix_load;
    if (begins("ld.shared.")) return Kind::shared_load;
    if (begins("st.shared.")) return Kind::shared_store;
    if (begins("ld.global.")) return Kind::global_load;
    if (begins("st.global.") || begins("atom.global.")) return Kind::global_store;
    if (begins("cp.async.cg.")) return Kind::copy;
    if (begins("shfl.")) return Kind::shuffle;
    if (begins("bra") || begins("ret")) return Kind::control;
    if (begins("bar.") || begins("cp.async.")) return Kind::barrier;
    if (begins("mov.") || begins("ld.param.") || begins("cvta.")) return Kind::move;
    return mnemonic.find("f32") != std::string::npos ? Kind::real : Kind::integer;
}

/// Wavefronts: in each, a bank gives one word. Lanes are served together as far as they have at most 128 bytes.
void Access::count_shared(Count & to) const {
    const size_t together = bytes <= 4 ? kLanes : 128 / bytes;
    for (size_t first = 0; first < kLanes; first += together) {
        std::vector<uint64_t> words;
        for (size_t lane = first; lane < first + together; ++lane) {
            for (uint64_t n = 0; mask >> lane & 1 && n < bytes; n += 4) words.push_back((at[lane] + n) / 4);
        }
        if (words.empty()) continue;
        std::sort(words.begin(), words.end());
        words.erase(std::unique(words.begin(), words.end()), words.end());
        std::array<uint64_t, 32> of_bank = {};
        for (const uint64_t word : words) ++of_bank[word % 32];
        to.wavefronts += *std::max_element(of_bank.begin(), of_bank.end());
        ++to.least_fronts;
    }
}

void Access::count_global(Count & to) const {
    std::array<uint64_t, kLanes> sorted;
    size_t lanes = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
        if (mask >> lane & 1) sorted[lanes++] = at[lane];
    }
    std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(lanes));
    uint64_t end = 0, touched = 0, sector = UINT64_MAX;
    for (size_t n = 0; n < lanes; ++n) {
        touched += sorted[n] + bytes - std::max(sorted[n], std::min(end, sorted[n] + bytes));
        end = std::max(end, sorted[n] + bytes);
        if (sorted[n] / 32 != sector) ++to.sectors;
        sector = sorted[n] / 32;
    }
    to.least_sectors += (touched + 31) / 32;
}

void Count::add(const Count & more) {
    times += more.times, lanes += more.lanes;
    wavefronts += more.wavefronts, least_fronts += more.least_fronts;
    sectors += more.sectors, least_sectors += more.least_sectors;
}

void Counts::add(const Warp & warp, const Instruction & i, uint32_t mask) {
    Count & to = of_[static_cast<size_t>(&i - kernel_->code.data())];
    ++to.times;
    for (uint32_t left = mask; left; left &= left - 1) ++to.lanes;
    const bool shared = i.kind == Kind::shared_load || i.kind == Kind::shared_store;
    const bool global = i.kind == Kind::global_load || i.kind == Kind::global_store;
    const bool copy = i.kind == Kind::copy, matrices = i.kind == Kind::matrix_load;
    if (!shared && !global && !copy && !matrices) return;
    const bool atomic = global && i.bytes == 0;
    const int address = copy ? 0 : atomic ? 1 : matrices ? 4 : i.elements;
    Access access;
    access.mask = mask, access.bytes = copy || matrices ? 16 : atomic ? 4 : uint64_t{i.elements} * i.bytes;
    for (size_t lane = 0; lane < kLanes; ++lane)
        access.at[lane] = value(warp, i.slot[static_cast<size_t>(address)], lane) + static_cast<uint64_t>(i.number);
    if (!global) {
        for (uint64_t & at : access.at) at &= UINT32_MAX;
        access.count_shared(to);
    } else {
        access.count_global(to);
    }
    if (!copy) return;
    for (size_t lane = 0; lane < kLanes; ++lane) {
        access.at[lane] = value(warp, i.slot[1], lane);
        if (value(warp, i.slot[3], lane) == 0) access.mask &= ~(1u << lane);
    }
    access.count_global(to);
}

void Counts::add(const Counts & launch, uint64_t blocks) {
    for (size_t n = 0; n < of_.size(); ++n) of_[n].add(launch.of_[n]);
    ++launches_, blocks_ += blocks;
}

Count Counts::sum(size_t first, size_t last) const {
    Count all;
    for (size_t n = first; n < last; ++n) all.add(of_[n]);
    return all;
}

Counts::Loop Counts::main_loop() const {
    Loop best;
    uint64_t most = 0;
    for (size_t at = 0; at < of_.size(); ++at) {
        const Instruction & i = kernel_->code[at];
        if (i.flow != Flow::branch || i.target > at) continue;
        uint64_t products = 0;
        for (size_t n = i.target; n <= at; ++n) products += kernel_->code[n].kind == Kind::mma ? of_[n].times : 0;
        const bool inside = i.target >= best.first && at < best.last;
        if (products > most || (products > 0 && products == most && inside)) most = products, best = {i.target, at + 1};
    }
    return best;
}

void Counts::write_kinds(std::ostream & to, Loop part, double over) const {
    std::array<uint64_t, std::size(kKinds)> times = {};
    for (size_t n = part.first; n < part.last; ++n) times[static_cast<size_t>(kernel_->code[n].kind)] += of_[n].times;
    const char * between = "{";
    for (size_t kind = 0; kind < times.size(); ++kind, between = ", ")
        to << between << '"' << kKinds[kind] << "\": " << static_cast<double>(times[kind]) / over;
    to << '}';
}

void Counts::write(std::ostream & to) const {
    constexpr size_t kPlaces = 8;
    const Loop whole{0, of_.size()}, loop = main_loop();
    const Count all = sum(whole.first, whole.last), looped = sum(loop.first, loop.last);
    const auto products_in = [&](Loop part) {
        uint64_t products = 0;
        for (size_t n = part.first; n < part.last; ++n) products += kernel_->code[n].kind == Kind::mma ? of_[n].times : 0;
        return products;
    };
    to.precision(10);
    to << "{\"kernel\": \"" << readable(kernel_->name) << "\", \"launches\": " << launches_ << ", \"blocks\": " << blocks_
       << ",\n \"instructions\": " << all.times << ", \"average_lanes\": " << ratio(all.lanes, all.times) << ", \"kinds\": ";
    write_kinds(to, whole, 1);
    if (const uint64_t products = products_in(whole)) to << ",\n \"instructions_per_mma\": " << ratio(all.times, products);
    if (const uint64_t products = products_in(loop)) {
        to << ",\n \"loop_instructions_per_mma\": " << ratio(looped.times, products) << ", \"loop_per_mma\": ";
        write_kinds(to, loop, static_cast<double>(products));
    }
    const auto write_memory = [&](const char * name, Loop part, Kind first, Kind last) {
        Count sums;
        for (size_t n = part.first; n < part.last; ++n) {
            if (kernel_->code[n].kind >= first && kernel_->code[n].kind <= last) sums.add(of_[n]);
        }
        to << ",\n \"" << name << "\": {\"wavefronts\": " << sums.wavefronts << ", \"least_wavefronts\": " << sums.least_fronts
           << ", \"sectors\": " << sums.sectors << ", \"least_sectors\": " << sums.least_sectors << '}';
    };
    write_memory("matrix_loads", whole, Kind::matrix_load, Kind::matrix_load);
    write_memory("shared_loads", whole, Kind::shared_load, Kind::shared_load);
    write_memory("shared_stores", whole, Kind::shared_store, Kind::shared_store);
    write_memory("global_loads", whole, Kind::global_load, Kind::global_load);
    write_memory("global_stores", whole, Kind::global_store, Kind::global_store);
    write_memory("copies", whole, Kind::copy, Kind::copy);
    // The instructions with most above the fewest.
    std::vector<size_t> order(of_.size());
    for (size_t n = 0; n < order.size(); ++n) order[n] = n;
    const auto excess = [&](size_t n) { return of_[n].wavefronts - of_[n].least_fronts + of_[n].sectors - of_[n].least_sectors; };
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return excess(a) > excess(b); });
    to << ",\n \"places\": [";
    for (size_t n = 0; n < std::min(kPlaces, order.size()) && excess(order[n]) > 0; ++n) {
        const Count & c = of_[order[n]];
        std::string text = kernel_->code[order[n]].text;
        std::replace(text.begin(), text.end(), '\t', ' ');
        to << (n ? ",\n  " : "\n  ") << "{\"at\": " << order[n] << ", \"text\": \"" << text << "\", \"times\": " << c.times
           << ", \"lanes\": " << c.lanes << ", \"wavefronts\": " << c.wavefronts << ", \"least_wavefronts\": " << c.least_fronts
           << ", \"sectors\": " << c.sectors << ", \"least_sectors\": " << c.least_sectors << '}';
    }
    to << "]}";
}

bool counting() {
    return kept().on();
}

void keep(const Counts & launch, uint64_t blocks) {
    kept().add(launch, launch.kernel(), blocks);
}

}  // namespace latent_ptx
