#include "formats/containers/torch_tensors.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/json.h"
#include "formats/containers/bytes.h"
#include "formats/containers/pickle_globals.h"

namespace latent::formats {

namespace {

constexpr int deepest_dictionary = 8;
constexpr size_t longest_tensor_name = 1024;
constexpr size_t longest_storage_text = 1024;  // of its key, and of the name of its class
// Nested dictionaries could give every entry the same long prefix; this limits the cost.
constexpr size_t most_name_bytes = size_t{16} << 20;
// A view that repeats elements (stride 0) may be this much larger than the file that holds it.
constexpr uint64_t most_expanded_bytes = uint64_t{1} << 20;

struct NamedValue {
    std::string name;
    ValueId value;
};

class Collector {
public:
    Collector(const Unpickler & pickle, const std::string & file) : pickle_(pickle), file_(file) {}

    std::vector<NamedValue> collect(ValueId root) {
        if (pickle_.is(root, ValueKind::dict) && visit_wrapped(root)) {
            strip_common_prefix("module.");
            return std::move(found_);
        }
        visit(root, "", 0);
        strip_common_prefix("module.");
        return std::move(found_);
    }

private:
    /// If the weights are one entry among others, only that entry counts.
    bool visit_wrapped(ValueId root) {
        for (const char * wrapper : {"state_dict", "params_ema", "params", "model_state_dict", "model", "string_to_param"}) {
            const ValueId * inner = pickle_.lookup(root, wrapper);
            if (!inner || !has_tensors(*inner)) continue;
            const bool embedding = wrapper == std::string_view("string_to_param");  // a textual inversion keeps this name
            visit(*inner, embedding ? "string_to_param." : "", 0);
            return true;
        }
        return false;
    }

    /// The dictionary of a value: itself, or the state of a ParameterDict.
    const ValueId * dictionary(const ValueId & id) const {
        if (pickle_.is(id, ValueKind::dict)) return &id;
        if (!pickle_.is(id, ValueKind::object)) return nullptr;
        const Span<const ValueId> parts = pickle_.items(id);
        if (parts.size() != 2 || pickle_.at(parts[0]).global != GlobalKind::parameter_dict ||
            !pickle_.is(parts[1], ValueKind::dict)) {
            return nullptr;
        }
        // Cached per state: many objects may share one with many entries.
        const auto known = states_.try_emplace(parts[1], nullptr);
        if (known.second) known.first->second = pickle_.lookup(parts[1], "_parameters");
        const ValueId * parameters = known.first->second;
        return parameters && pickle_.is(*parameters, ValueKind::dict) ? parameters : nullptr;
    }

    bool has_tensors(const ValueId & id) const {
        const ValueId * dict = dictionary(id);
        if (!dict) return false;
        const Span<const ValueId> pairs = pickle_.items(*dict);
        for (size_t i = 1; i < pairs.size(); i += 2) {
            if (pickle_.is(pairs[i], ValueKind::tensor)) return true;
        }
        return false;
    }

    void visit(const ValueId & id, const std::string & prefix, int depth) {
        const ValueId * dict = dictionary(id);
        // Each is visited once: dictionaries may contain themselves, or each other in exponentially many ways.
        if (!dict || depth > deepest_dictionary || !visited_.insert(*dict).second) return;
        const Span<const ValueId> pairs = pickle_.items(*dict);
        std::unordered_map<std::string_view, size_t> last;  // if a key is set twice, the last value counts
        for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
            if (!pickle_.is(pairs[i], ValueKind::text)) continue;
            const std::string_view key = pickle_.at(pairs[i]).text();
            if (key.size() > longest_tensor_name) too_long();  // checked before hashing: one long key may occur a million times
            last[key] = i;
        }
        for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
            if (!pickle_.is(pairs[i], ValueKind::text)) continue;
            const std::string_view key = pickle_.at(pairs[i]).text();
            if (last[key] != i) continue;
            name_bytes_ += prefix.size() + key.size();
            if (prefix.size() + key.size() > longest_tensor_name || name_bytes_ > most_name_bytes) too_long();
            const std::string name = prefix + std::string(key);
            if (pickle_.is(pairs[i + 1], ValueKind::tensor)) {
                found_.push_back({name, pairs[i + 1]});
            } else {
                visit(pairs[i + 1], name + ".", depth + 1);
            }
        }
    }

    [[noreturn]] void too_long() const { broken(file_, "the names of its tensors are too long"); }

    void strip_common_prefix(const std::string & prefix) {
        const bool common = std::all_of(found_.begin(), found_.end(), [&](const NamedValue & tensor) {
            return tensor.name.size() > prefix.size() && tensor.name.compare(0, prefix.size(), prefix) == 0;
        });
        if (!common) return;
        for (NamedValue & tensor : found_) tensor.name.erase(0, prefix.size());
    }

    const Unpickler & pickle_;
    const std::string & file_;
    size_t name_bytes_ = 0;
    std::vector<NamedValue> found_;
    std::unordered_set<ValueId> visited_;
    mutable std::unordered_map<ValueId, const ValueId *> states_;  // states of ParameterDicts and their dictionaries
};

class Resolver {
public:
    Resolver(const Unpickler & pickle, const std::string & file, uint64_t limit, const StorageLookup & find_storage)
        : pickle_(pickle), file_(file), limit_(limit), find_storage_(find_storage) {}

    StridedTensor resolve(const NamedValue & named) const {
        StridedTensor tensor;
        tensor.info.name = named.name;
        const Span<const ValueId> record = pickle_.items(named.value);  // storage, offset, sizes, strides[, dtype]
        uint64_t elements = 0, offset = 0;
        std::string_view key;
        if (!read_storage(record, tensor, key, elements)) {
            read_shape(record, tensor);
            tensor.info.bytes = 0;
            tensor.contiguous = true;
            return tensor;
        }
        if (!read_count(record[1], offset)) fail(tensor, "has a negative or unreadable offset");
        read_shape(record, tensor);
        const uint64_t used = used_elements(tensor);
        uint64_t last = 0;
        if (!add_checked(offset, used, last) || last > elements) fail(tensor, "reaches beyond its storage");
        const uint64_t width = static_cast<uint64_t>(dtype_block_bytes(tensor.info.dtype));
        const StorageRange range = find_storage_(key);
        if (elements > range.bytes / width) {
            fail(tensor, "claims a storage of " + std::to_string(elements) + " elements, but the file holds " +
                             std::to_string(range.bytes) + " bytes of it");
        }
        tensor.offset = range.offset + offset * width;
        tensor.extent = used * width;
        return tensor;
    }

private:
    [[noreturn]] void fail(const StridedTensor & tensor, const std::string & what) const {
        broken(file_, "the tensor \"" + shown(tensor.info.name) + "\" " + what);
    }

    bool read_count(ValueId id, uint64_t & count) const {
        const PickleValue & value = pickle_.at(id);
        if (value.kind != ValueKind::integer || value.integer < 0) return false;
        count = static_cast<uint64_t>(value.integer);
        return true;
    }

    /// False for a tensor of an unsupported type. It is listed without its data; only code that needs it has to know the type.
    bool read_storage(Span<const ValueId> record, StridedTensor & tensor, std::string_view & key, uint64_t & elements) const {
        StorageRecord storage;
        if (!pickle_.is(record[0], ValueKind::storage) || !read_storage_record(pickle_, record[0], storage)) {
            fail(tensor, "has a storage of an unknown kind");
        }
        const auto unread = [&](const char * what, std::string_view type) {
            tensor.info.dtype = DType::opaque;
            tensor.info.stored_as = what + (type.empty() ? "" : " (" + shown(type) + ")");
            return false;
        };
        constexpr char unknown[] = "an unknown torch type";
        if (storage.dtype == DType::opaque) {
            return unread(storage.element_bytes != 0 ? "an unsupported torch type" : unknown, storage.class_name);
        }
        const Span<const ValueId> parts = pickle_.items(record[0]);
        if (parts.size() > 5 && !pickle_.is(parts[5], ValueKind::none))
            fail(tensor, "uses a storage view, which is not supported");
        tensor.info.dtype = storage.dtype;
        key = storage.key;
        elements = storage.count;
        if (record.size() == 5) {
            const PickleValue & dtype = pickle_.at(record[4]);
            if (dtype.kind != ValueKind::global) return unread(unknown, "");
            if (dtype.global == GlobalKind::unknown) return unread(unknown, dtype.text());
            if (dtype.global != GlobalKind::dtype) return unread(unknown, "");
            tensor.info.dtype = static_cast<DType>(dtype.integer);
        } else if (storage.untyped) {
            fail(tensor, "has an untyped storage");
        }
        // An untyped storage is counted in bytes.
        if (storage.untyped) elements /= static_cast<uint64_t>(dtype_block_bytes(tensor.info.dtype));
        return true;
    }

    void read_shape(Span<const ValueId> record, StridedTensor & tensor) const {
        for (const ValueId list : {record[2], record[3]}) {
            if (!pickle_.is(list, ValueKind::tuple) && !pickle_.is(list, ValueKind::list)) fail(tensor, "has no shape");
        }
        const Span<const ValueId> sizes = pickle_.items(record[2]), strides = pickle_.items(record[3]);
        if (sizes.size() != strides.size()) fail(tensor, "has sizes and strides of different length");
        if (sizes.size() > max_rank) fail(tensor, "has " + std::to_string(sizes.size()) + " dimensions");
        for (size_t axis = 0; axis < sizes.size(); ++axis) {
            uint64_t size = 0, stride = 0;
            if (!read_count(sizes[axis], size)) fail(tensor, "has a negative or unreadable size");
            if (!read_count(strides[axis], stride)) fail(tensor, "has a negative or unreadable stride");
            tensor.info.shape.push_back(static_cast<int64_t>(size));
            tensor.strides.push_back(stride);
        }
        if (!tensor_bytes(tensor.info.dtype, tensor.info.shape, tensor.info.bytes)) fail(tensor, "has an impossible shape");
        if (tensor.info.bytes > std::max(limit_, most_expanded_bytes)) {
            fail(tensor, "would take " + std::to_string(tensor.info.bytes) + " bytes, more than its whole file");
        }
    }

    /// Number of elements from the first to just past the last one that the view touches. Also finds out whether it is
    /// contiguous.
    uint64_t used_elements(StridedTensor & tensor) const {
        if (tensor.info.bytes == 0) return 0;
        uint64_t last = 0, expected = 1;
        for (size_t axis = tensor.strides.size(); axis-- > 0;) {
            const uint64_t size = static_cast<uint64_t>(tensor.info.shape[axis]);
            uint64_t reach = 0;
            if (!multiply_checked(size - 1, tensor.strides[axis], reach) || !add_checked(last, reach, last)) {
                fail(tensor, "reaches beyond its storage");
            }
            if (size > 1 && tensor.strides[axis] != expected) tensor.contiguous = false;
            expected *= size;
        }
        if (last == UINT64_MAX) fail(tensor, "reaches beyond its storage");
        return last + 1;
    }

    const Unpickler & pickle_;
    const std::string & file_;
    uint64_t limit_;
    const StorageLookup & find_storage_;
};

}  // namespace

bool read_storage_record(const Unpickler & pickle, ValueId storage, StorageRecord & record) {
    const Span<const ValueId> parts = pickle.items(storage);  // 'storage', class, key, device, count[, view]
    if (parts.size() < 5 || !pickle.is_text(parts[0], "storage")) return false;
    const PickleValue & type = pickle.at(parts[1]);
    const PickleValue & key = pickle.at(parts[2]);
    const PickleValue & count = pickle.at(parts[4]);
    if (type.kind != ValueKind::global || key.kind != ValueKind::text) return false;
    if (count.kind != ValueKind::integer || count.integer < 0) return false;
    // One long text may be used by a million records, each of which is hashed.
    if (key.text().size() > longest_storage_text ||
        (type.global == GlobalKind::unknown && type.text().size() > longest_storage_text)) {
        return false;
    }
    record.key = key.text();
    record.count = static_cast<uint64_t>(count.integer);
    switch (type.global) {
        case GlobalKind::storage: record.dtype = static_cast<DType>(type.integer); break;
        case GlobalKind::untyped_storage:
            record.dtype = DType::u8;
            record.untyped = true;
            break;
        case GlobalKind::unknown:
            record.class_name = type.text();
            record.element_bytes = unread_element_bytes(record.class_name);
            return true;
        default: return false;
    }
    record.element_bytes = static_cast<uint64_t>(dtype_block_bytes(record.dtype));
    return true;
}

std::vector<StridedTensor> collect_tensors(const Unpickler & pickle, ValueId root, const std::string & name, uint64_t limit,
                                           const StorageLookup & find_storage) {
    const std::vector<NamedValue> named = Collector(pickle, name).collect(root);
    if (named.empty()) {
        broken(name, "contains no named tensors; it is not a torch checkpoint of weights, or was saved as a whole Python object");
    }
    const Resolver resolver(pickle, name, limit, find_storage);
    std::vector<StridedTensor> tensors;
    tensors.reserve(named.size());
    for (const NamedValue & tensor : named) tensors.push_back(resolver.resolve(tensor));
    return tensors;
}

std::string collect_metadata(const Unpickler & pickle, ValueId root) {
    Json result = Json::object();
    if (!pickle.is(root, ValueKind::dict)) return "{}";
    const Span<const ValueId> pairs = pickle.items(root);
    uint64_t bytes = 0;  // one text may occur a million times
    for (size_t i = 0; i + 1 < pairs.size() && result.size() < most_metadata_entries; i += 2) {
        if (!pickle.is(pairs[i], ValueKind::text)) continue;
        const PickleValue & value = pickle.at(pairs[i + 1]);
        bytes += pickle.at(pairs[i]).text().size() + (value.kind == ValueKind::text ? value.text().size() : 0);
        if (bytes > most_metadata_bytes) break;
        const std::string key(pickle.at(pairs[i]).text());
        switch (value.kind) {
            case ValueKind::boolean: result[key] = value.integer != 0; break;
            case ValueKind::integer: result[key] = value.integer; break;
            case ValueKind::number: result[key] = value.number; break;
            case ValueKind::text: result[key] = std::string(value.text()); break;
            default: break;
        }
    }
    return result.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace latent::formats
