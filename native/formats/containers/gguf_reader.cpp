#include "formats/containers/gguf_reader.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "core/json.h"
#include "formats/containers/bytes.h"
#include "formats/containers/contiguous_source.h"

namespace latent::formats {

namespace {

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64, value_type_count };

constexpr uint64_t value_bytes[value_type_count] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: variable length

constexpr uint64_t longest_name = 65535;
constexpr int deepest_array = 4;
constexpr uint64_t most_array_elements = uint64_t{1} << 18;
constexpr uint64_t most_array_bytes = uint64_t{16} << 20;
constexpr uint64_t most_nested_bytes = uint64_t{64} << 10;
constexpr uint64_t most_kept_bytes = uint64_t{64} << 20;  // for all metadata together, see cost_of
constexpr uint64_t element_cost = 32;                     // per element of a list, in addition to its bytes
constexpr std::string_view comfy_shape = "comfy.gguf.orig_shape.";

struct KeyValue {
    std::string_view key;
    uint32_t type = 0;
    uint64_t position = 0;
    uint64_t bytes = 0;
};

uint64_t read_length(ByteReader & reader, uint64_t longest, const char * what) {
    const uint64_t length = reader.u64();
    if (length > longest || length > reader.left()) {
        broken(reader.file(), std::string("claims a ") + what + " of " + std::to_string(length) + " bytes");
    }
    return length;
}

std::string_view read_string(ByteReader & reader, uint64_t longest, const char * what) {
    return reader.text(read_length(reader, longest, what));
}

uint32_t read_value_type(ByteReader & reader) {
    const uint32_t type = reader.u32();
    if (type >= value_type_count) broken(reader.file(), "has a metadata value of unknown type " + std::to_string(type));
    return type;
}

void skip_value(ByteReader & reader, uint32_t type, int depth = 0) {
    if (type == string) {
        read_string(reader, UINT64_MAX, "string");
        return;
    }
    if (type != array) {
        reader.skip(value_bytes[type]);
        return;
    }
    if (depth == deepest_array) broken(reader.file(), "has metadata arrays nested too deeply");
    const uint32_t element = read_value_type(reader);
    const uint64_t count = reader.u64();
    // The least that an element can take: a string its length field, an array its type and count.
    const uint64_t least = element == string ? 8 : element == array ? 12 : value_bytes[element];
    if (count > reader.left() / least) broken(reader.file(), "claims a metadata array of " + std::to_string(count) + " elements");
    if (element != string && element != array) {
        reader.skip(count * least);
        return;
    }
    for (uint64_t i = 0; i < count; ++i) skip_value(reader, element, depth + 1);
}

float float_from(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

double double_from(uint64_t bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/// Only for values that skip_value has passed.
Json to_value(ByteReader & reader, uint32_t type) {
    switch (type) {
        case u8: return reader.u8();
        case i8: return static_cast<int8_t>(reader.u8());
        case u16: return reader.u16();
        case i16: return static_cast<int16_t>(reader.u16());
        case u32: return reader.u32();
        case i32: return static_cast<int32_t>(reader.u32());
        case f32: return float_from(reader.u32());
        case boolean: return reader.u8() != 0;
        case string: return std::string(read_string(reader, UINT64_MAX, "string"));
        case u64: return reader.u64();
        case i64: return static_cast<int64_t>(reader.u64());
        case f64: return double_from(reader.u64());
        default: break;
    }
    Json list = Json::array();
    const uint32_t element = read_value_type(reader);
    const uint64_t count = reader.u64();
    for (uint64_t i = 0; i < count; ++i) list.push_back(to_value(reader, element));
    return list;
}

class GgufSource : public ContiguousSource {
public:
    explicit GgufSource(const MappedFilePtr & file) : ContiguousSource(file) {
        ByteReader reader(file_->bytes(), name_);
        reader.skip(4);
        check_version(reader.u32());
        const uint64_t tensor_count = reader.u64(), value_count = reader.u64();
        // Divides by the size of the shortest possible entry, so that a false count is rejected before it is used.
        if (tensor_count > reader.left() / 24) broken(name_, "claims " + std::to_string(tensor_count) + " tensors");
        if (value_count > reader.left() / 13) broken(name_, "claims " + std::to_string(value_count) + " metadata entries");
        if (tensor_count > most_tensors) broken(name_, "lists more than " + std::to_string(most_tensors) + " tensors");
        if (value_count > most_metadata_entries) {
            broken(name_, "has more than " + std::to_string(most_metadata_entries) + " metadata entries");
        }
        read_values(reader, value_count);
        read_tensors(reader, tensor_count);
    }

    std::string metadata_json() const override {
        Json result = Json::object();
        for (const KeyValue & entry : values_) {
            ByteReader reader(file_->bytes(), name_, entry.position);
            if (entry.type == array && too_long(entry)) continue;
            result[std::string(entry.key)] = to_value(reader, entry.type);
        }
        return result.dump(-1, ' ', false, Json::error_handler_t::replace);
    }

private:
    void check_version(uint32_t version) const {
        if (version == 2 || version == 3) return;
        if (version != 0 && (version & 0xffffu) == 0)
            broken(name_, "is a big-endian GGUF file; only little-endian files are supported");
        broken(name_, "is GGUF version " + std::to_string(version) + "; versions 2 and 3 are supported");
    }

    void read_values(ByteReader & reader, uint64_t count) {
        std::unordered_set<std::string_view> keys;
        uint64_t cost = 0;
        for (uint64_t i = 0; i < count; ++i) {
            KeyValue entry;
            entry.key = read_string(reader, longest_name, "metadata key");
            entry.type = read_value_type(reader);
            entry.position = reader.position();
            skip_value(reader, entry.type);
            entry.bytes = reader.position() - entry.position;
            if (!keys.insert(entry.key).second) broken(name_, "has the metadata key \"" + shown(entry.key) + "\" twice");
            if (entry.key == "general.alignment") read_alignment(entry);
            cost += cost_of(entry);
            if (cost > most_kept_bytes) broken(name_, "has too much metadata");
            values_.push_back(entry);
        }
    }

    void read_alignment(const KeyValue & entry) {
        if (entry.type != u32) broken(name_, "general.alignment is not a 32-bit number");
        alignment_ = load_u32(file_->data() + entry.position);
        if (alignment_ == 0 || (alignment_ & (alignment_ - 1)) != 0 || alignment_ > uint64_t{1} << 20) {
            broken(name_, "has the impossible alignment " + std::to_string(alignment_));
        }
    }

    void read_tensors(ByteReader & reader, uint64_t count) {
        std::vector<TensorInfo> tensors;
        std::vector<uint64_t> offsets;
        for (uint64_t i = 0; i < count; ++i) {
            tensors.push_back(read_tensor(reader));
            offsets.push_back(reader.u64());
        }
        restore_shapes(tensors);
        const uint64_t start = (reader.position() + alignment_ - 1) / alignment_ * alignment_;
        for (size_t i = 0; i < offsets.size(); ++i) {
            uint64_t end;
            if (offsets[i] % alignment_ != 0) broken(name_, "the tensor \"" + shown(tensors[i].name) + "\" is not aligned");
            if (!add_checked(offsets[i], start, offsets[i]) || !add_checked(offsets[i], tensors[i].bytes, end) ||
                end > file_->size()) {
                broken(name_,
                       "the tensor \"" + shown(tensors[i].name) + "\" lies beyond the end of the file; it was probably cut off");
            }
        }
        check_overlaps(tensors, offsets, start);
        set_layout(std::move(tensors), std::move(offsets));
    }

    TensorInfo read_tensor(ByteReader & reader) const {
        TensorInfo info;
        info.name = read_string(reader, longest_name, "tensor name");
        const std::string tensor = "the tensor \"" + shown(info.name) + "\" ";
        const uint32_t rank = reader.u32();
        if (rank > max_rank) broken(name_, tensor + "has " + std::to_string(rank) + " dimensions");
        info.shape.resize(rank);
        for (uint32_t i = rank; i-- > 0;) info.shape[i] = static_cast<int64_t>(reader.u64());  // innermost first in the file
        const uint32_t type = reader.u32();
        if (!dtype_from_ggml_number(type, info.dtype)) {
            info.dtype = DType::opaque;  // only code that needs the tensor has to know its type
            info.stored_as = "ggml's type " + std::to_string(type);
        }
        if (!tensor_bytes(info.dtype, info.shape, info.bytes)) broken(name_, tensor + "has an impossible shape");
        if (info.dtype == DType::opaque) info.bytes = 0;  // until the next tensor is known
        return info;
    }

    /// Shapes of tensors before the writer flattened them: comfy.gguf.orig_shape.NAME of ComfyUI-GGUF, whose rows of 256 need not
    /// be rows of the tensor, and "latent.shapes" of convert(), a JSON text.
    void restore_shapes(std::vector<TensorInfo> & tensors) const {
        std::unordered_map<std::string_view, Json> shapes;
        Json table;
        for (const KeyValue & entry : values_) {
            ByteReader reader(file_->bytes(), name_, entry.position);
            if (entry.key.substr(0, comfy_shape.size()) == comfy_shape && entry.type == array && !too_long(entry)) {
                shapes.emplace(entry.key.substr(comfy_shape.size()), to_value(reader, array));
            } else if (entry.key == "latent.shapes" && entry.type == string) {
                table = parse_json(read_string(reader, UINT64_MAX, "string"), name_ + ": latent.shapes");
                if (!table.is_object()) broken(name_, "latent.shapes is not an object");
            }
        }
        if (table.is_object()) {
            for (const auto & item : table.items()) shapes.emplace(item.key(), item.value());
        }
        for (TensorInfo & tensor : tensors) {
            const auto shape = shapes.find(tensor.name);
            if (shape != shapes.end()) restore_shape(tensor, shape->second);
        }
    }

    void restore_shape(TensorInfo & tensor, const Json & sizes) const {
        std::vector<int64_t> shape;
        int64_t elements = 1;
        bool sound = sizes.is_array() && sizes.size() <= max_rank && tensor.dtype != DType::opaque;
        for (size_t i = 0; sound && i < sizes.size(); ++i) {
            sound =
                sizes[i].is_number_integer() && sizes[i] > 0 && sizes[i] < (int64_t{1} << 31) && elements < (int64_t{1} << 31);
            if (!sound) break;
            shape.push_back(sizes[i].get<int64_t>());
            elements *= shape.back();
        }
        if (!sound || elements != tensor.elements()) {
            broken(name_, "the original shape of the tensor \"" + shown(tensor.name) + "\" does not fit it");
        }
        tensor.shape = std::move(shape);
    }

    /// Also gives tensors of unknown types the bytes up to the next tensor.
    void check_overlaps(std::vector<TensorInfo> & tensors, const std::vector<uint64_t> & offsets, uint64_t start) const {
        std::vector<size_t> order(tensors.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
            return offsets[a] != offsets[b] ? offsets[a] < offsets[b] : tensors[a].bytes < tensors[b].bytes;
        });
        for (size_t at = 0; at < order.size(); ++at) {
            const size_t i = order[at];
            if (tensors[i].dtype == DType::opaque)
                tensors[i].bytes = (at + 1 < order.size() ? offsets[order[at + 1]] : file_->size()) - offsets[i];
        }
        uint64_t covered = start;
        for (const size_t i : order) {
            if (offsets[i] < covered) broken(name_, "the tensor \"" + shown(tensors[i].name) + "\" overlaps another");
            covered = offsets[i] + tensors[i].bytes;
        }
    }

    /// Bytes that an entry takes in metadata_json(), approximately.
    uint64_t cost_of(const KeyValue & entry) const {
        if (entry.type != array) return entry.key.size() + entry.bytes;
        return too_long(entry) ? 0 : entry.key.size() + entry.bytes + element_cost * load_u64(file_->data() + entry.position + 4);
    }

    bool too_long(const KeyValue & entry) const {
        const uint8_t * head = file_->data() + entry.position;
        const bool nested = load_u32(head) == array;
        return entry.bytes > (nested ? most_nested_bytes : most_array_bytes) || load_u64(head + 4) > most_array_elements;
    }

    std::vector<KeyValue> values_;
    uint64_t alignment_ = 32;
};

}  // namespace

bool looks_like_gguf(Span<const uint8_t> bytes) {
    return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

TensorSourcePtr open_gguf(const MappedFilePtr & file) {
    return std::make_shared<GgufSource>(file);
}

}  // namespace latent::formats
