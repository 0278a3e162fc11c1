#include "formats/containers/legacy_storages.h"

#include <array>
#include <string>
#include <vector>

namespace latent::formats {

namespace {

constexpr uint64_t header_bytes = sizeof(uint64_t);  // the element count before each storage
constexpr std::array<uint64_t, 5> element_sizes = {1, 2, 4, 8, 16};
// A wrong size shows at the next storage's count. Only a file crafted for it needs more tries than this per storage.
constexpr uint64_t most_tries_per_storage = 64;
constexpr size_t most_classes_shown = 4;
constexpr char advice[] = "; save it again with torch 1.6 or later, which stores each tensor's data separately";

struct Slot {
    std::string_view key;
    uint64_t count = 0;      // from the pickled object
    uint64_t width = 0;      // bytes per element; 0: unknown
    size_t class_index = 0;  // in `Slots::classes`, if the width is unknown
};

struct Slots {
    std::vector<Slot> list;                 // in the order of the file
    std::vector<std::string_view> classes;  // unknown classes
    size_t unknown = 0;                     // number of storages with elements of unknown width
};

using Records = std::unordered_map<std::string_view, StorageRecord>;

Records storage_records(const Unpickler & pickle, const std::string & name) {
    Records records;
    for (ValueId id = 0; id < pickle.size(); ++id) {
        if (!pickle.is(id, ValueKind::storage)) continue;
        StorageRecord record;
        if (!read_storage_record(pickle, id, record)) broken(name, "has a storage of an unknown kind");
        const StorageRecord & first = records.emplace(record.key, record).first->second;
        const bool same = first.element_bytes == record.element_bytes &&
                          (first.element_bytes != 0 || (first.class_name == record.class_name && first.count == record.count));
        if (!same) broken(name, "uses the storage \"" + shown(record.key) + "\" with two data types");
    }
    return records;
}

Slots list_slots(const Unpickler & pickle, ValueId keys, const std::string & name) {
    const Records records = storage_records(pickle, name);
    Slots slots;
    std::unordered_map<std::string_view, size_t> classes, seen;
    for (const ValueId id : pickle.items(keys)) {
        if (!pickle.is(id, ValueKind::text)) broken(name, "the list of storages is damaged");
        const std::string_view key = pickle.at(id).text();
        const auto found = records.find(key);
        if (found == records.end()) broken(name, "the storage \"" + shown(key) + "\" is listed but never used");
        if (!seen.emplace(key, 0).second) broken(name, "the storage \"" + shown(key) + "\" is listed twice");
        const StorageRecord & record = found->second;
        Slot slot{key, record.count, record.element_bytes, 0};
        if (slot.width == 0 && slot.count == 0) {
            slot.width = 1;  // empty, so its class does not matter
        } else if (slot.width == 0) {
            const auto entry = classes.emplace(record.class_name, slots.classes.size());
            if (entry.second) slots.classes.push_back(record.class_name);
            slot.class_index = entry.first->second;
            ++slots.unknown;
        }
        slots.list.push_back(slot);
    }
    return slots;
}

[[noreturn]] void cut_off(const std::string & name, const Slot & slot, uint64_t count) {
    broken(name, "the storage \"" + shown(slot.key) + "\" claims " + std::to_string(count) +
                     " elements, more than the file holds; it was probably cut off");
}

/// All element sizes are known: the counts in the file lead from one storage to the next.
StorageRanges place_known(const Slots & slots, ByteReader & reader) {
    StorageRanges ranges;
    for (const Slot & slot : slots.list) {
        const uint64_t count = reader.u64();
        if (count > reader.left() / slot.width) cut_off(reader.file(), slot, count);
        ranges.emplace(slot.key, StorageRange{reader.position(), count * slot.width});
        reader.skip(count * slot.width);
    }
    return ranges;
}

/// A single unknown storage takes the bytes that the others leave, whatever its element size.
StorageRanges place_around_one(const Slots & slots, ByteReader & reader) {
    uint64_t taken = 0;
    for (const Slot & slot : slots.list) {
        uint64_t bytes = 0;
        const bool fits = multiply_checked(slot.count, slot.width, bytes) && add_checked(taken, bytes, taken) &&
                          add_checked(taken, header_bytes, taken) && taken <= reader.left();
        if (!fits) cut_off(reader.file(), slot, slot.count);
    }
    const uint64_t rest = reader.left() - taken;
    StorageRanges ranges;
    for (const Slot & slot : slots.list) {
        // Only the counts tell where the next storage begins, so they have to match.
        if (reader.u64() != slot.count) cut_off(reader.file(), slot, slot.count);
        const uint64_t bytes = slot.width == 0 ? rest : slot.count * slot.width;
        if (slot.width != 0) ranges.emplace(slot.key, StorageRange{reader.position(), bytes});
        reader.skip(bytes);
    }
    return ranges;
}

/// Depth-first search over the element sizes of unknown classes: a size is chosen at the first storage of a class and applies to
/// all its storages.
class SizeSearch {
public:
    SizeSearch(const Slots & slots, const ByteReader & reader)
        : slots_(slots),
          reader_(reader),
          widths_(slots.classes.size(), 0),
          offsets_(slots.list.size(), 0),
          tries_(most_tries_per_storage * (slots.list.size() + 1)) {}

    StorageRanges run() {
        walk(0, reader_.position());
        while (!choices_.empty()) {
            Choice & choice = choices_.back();
            const Slot & slot = slots_.list[choice.slot];
            if (choice.next == element_sizes.size()) {
                widths_[slot.class_index] = 0;
                choices_.pop_back();
                continue;
            }
            widths_[slot.class_index] = element_sizes[choice.next++];
            walk(choice.slot, choice.position);
        }
        if (solution_.empty()) {
            broken(reader_.file(), "has storages of unknown types (" + class_names() +
                                       "), and no element size fits the file; it was probably cut off" + advice);
        }
        StorageRanges ranges;
        for (size_t i = 0; i < slots_.list.size(); ++i) {
            const Slot & slot = slots_.list[i];
            if (slot.width != 0) ranges.emplace(slot.key, StorageRange{solution_[i], slot.count * slot.width});
        }
        return ranges;
    }

private:
    struct Choice {
        size_t slot;
        uint64_t position;
        size_t next;  // index of the size to try next
    };

    /// Continues from a storage until one does not fit, the file ends, or a class without a size comes up, which becomes a new
    /// choice.
    void walk(size_t first, uint64_t position) {
        ByteReader reader = reader_;
        reader.skip(position - reader.position());
        for (size_t i = first; i < slots_.list.size(); ++i) {
            const Slot & slot = slots_.list[i];
            const uint64_t width = slot.width != 0 ? slot.width : widths_[slot.class_index];
            if (width == 0) return choices_.push_back({i, reader.position(), 0});
            if (tries_-- == 0) ambiguous();
            if (reader.left() < header_bytes || reader.u64() != slot.count || slot.count > reader.left() / width) return;
            offsets_[i] = reader.position();
            reader.skip(slot.count * width);
        }
        if (reader.left() == 0) accept();
    }

    /// Different sizes matter only if they place a known storage differently.
    void accept() {
        if (solution_.empty()) solution_ = offsets_;
        if (tries_ < offsets_.size()) ambiguous();
        tries_ -= offsets_.size();  // for the comparison
        for (size_t i = 0; i < slots_.list.size(); ++i) {
            const Slot & slot = slots_.list[i];
            if (slot.width != 0 && slot.count != 0 && offsets_[i] != solution_[i]) ambiguous();
        }
    }

    [[noreturn]] void ambiguous() const {
        broken(reader_.file(), "has storages of unknown types (" + class_names() +
                                   "), and more than one combination of element sizes fits the file" + advice);
    }

    std::string class_names() const {
        std::string names;
        for (size_t i = 0; i < slots_.classes.size() && i < most_classes_shown; ++i) {
            names += (i == 0 ? "" : ", ") + shown(slots_.classes[i]);
        }
        return slots_.classes.size() > most_classes_shown ? names + ", ..." : names;
    }

    const Slots & slots_;
    const ByteReader & reader_;
    std::vector<uint64_t> widths_;  // per class, 0: not chosen
    std::vector<uint64_t> offsets_, solution_;
    std::vector<Choice> choices_;
    uint64_t tries_;
};

}  // namespace

StorageRanges place_legacy_storages(const Unpickler & pickle, ValueId keys, ByteReader reader) {
    const Slots slots = list_slots(pickle, keys, reader.file());
    if (slots.unknown == 0) return place_known(slots, reader);
    if (slots.unknown == 1) return place_around_one(slots, reader);
    return SizeSearch(slots, reader).run();
}

}  // namespace latent::formats
