#include "formats/containers/safetensors.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/json.h"
#include "formats/containers/bytes.h"
#include "formats/containers/contiguous_source.h"

namespace latent::formats {

namespace {

struct Entry {
    TensorInfo info;
    uint64_t begin = 0, end = 0;
};

bool dtype_from_name(std::string_view name, DType & type) {
    static const std::pair<const char *, DType> names[] = {
        {"F32", DType::f32},         {"F16", DType::f16},         {"BF16", DType::bf16}, {"F64", DType::f64},
        {"F8_E4M3", DType::f8_e4m3}, {"F8_E5M2", DType::f8_e5m2}, {"I64", DType::i64},   {"I32", DType::i32},
        {"I16", DType::i16},         {"I8", DType::i8},           {"U8", DType::u8},     {"BOOL", DType::boolean},
        {"U16", DType::u16},         {"U32", DType::u32},         {"U64", DType::u64},   {"F8_E8M0", DType::f8_e8m0},
        {"F4", DType::f4_e2m1},      {"C64", DType::c64},
    };
    for (const auto & known : names) {
        if (name == known.first) {
            type = known.second;
            return true;
        }
    }
    return false;
}

/// Parses the header as a stream of events. No tree is built, so a header takes little more memory than the list it describes.
/// Three levels are allowed: the file, a tensor (or the metadata), a list of numbers.
class HeaderReader {
public:
    using number_integer_t = Json::number_integer_t;
    using number_unsigned_t = Json::number_unsigned_t;
    using number_float_t = Json::number_float_t;
    using string_t = Json::string_t;
    using binary_t = Json::binary_t;

    explicit HeaderReader(std::string file) : file_(std::move(file)) {}

    std::vector<Entry> entries;
    std::map<std::string, std::string> metadata;

    bool null() { return scalar("null"); }
    bool boolean(bool) { return scalar("a boolean"); }
    bool number_integer(number_integer_t) { return scalar("a negative number"); }
    bool number_float(number_float_t, const string_t & text) { return scalar("the number " + shown(text)); }
    bool binary(binary_t &) { return scalar("binary data"); }

    bool number_unsigned(number_unsigned_t value) {
        if (level_ != Level::list) return scalar("a number");
        if (field_ == Field::shape) {
            if (value > static_cast<uint64_t>(INT64_MAX)) fail_here("a dimension is too large");
            if (entries.back().info.shape.size() == max_rank) {
                fail_here("has more than " + std::to_string(max_rank) + " dimensions");
            }
            entries.back().info.shape.push_back(static_cast<int64_t>(value));
        } else {
            if (offset_count_ == 2) fail_here("data_offsets has more than two numbers");
            (offset_count_++ == 0 ? entries.back().begin : entries.back().end) = value;
        }
        return true;
    }

    bool string(string_t & value) {
        if (level_ == Level::metadata) {
            metadata_bytes_ += key_.size() + value.size();
            if (++metadata_count_ > most_metadata_entries || metadata_bytes_ > most_metadata_bytes) {
                fail_here("more than " + std::to_string(most_metadata_entries) + " entries or " +
                          std::to_string(most_metadata_bytes >> 20) + " MB of metadata");
            }
            metadata[key_] = std::move(value);
            return true;
        }
        if (level_ != Level::tensor || field_ == Field::shape || field_ == Field::offsets) return scalar("a string");
        TensorInfo & info = entries.back().info;
        if (field_ == Field::dtype && !dtype_from_name(value, info.dtype)) {
            info.dtype = DType::opaque;  // only code that needs the tensor has to know its type
            info.stored_as = "the unknown type " + shown(value);
        }
        return true;
    }

    bool start_object(size_t) {
        if (level_ == Level::outside) {
            level_ = Level::file;
        } else if (level_ == Level::file && key_ == "__metadata__") {
            level_ = Level::metadata;
        } else if (level_ == Level::file) {
            level_ = Level::tensor;
            if (entries.size() == most_tensors) broken(file_, "lists more than " + std::to_string(most_tensors) + " tensors");
            entries.emplace_back();
            entries.back().info.name = key_;
            seen_ = 0;
            field_ = Field::other;
        } else {
            fail_here("an unexpected object");
        }
        return true;
    }

    bool end_object() {
        if (level_ == Level::tensor && seen_ != 7) fail_here("lacks dtype, shape or data_offsets");
        level_ = level_ == Level::file ? Level::outside : Level::file;
        return true;
    }

    bool start_array(size_t) {
        if (level_ != Level::tensor || (field_ != Field::shape && field_ != Field::offsets)) fail_here("an unexpected list");
        level_ = Level::list;
        offset_count_ = 0;
        return true;
    }

    bool end_array() {
        if (field_ == Field::offsets && offset_count_ != 2) fail_here("data_offsets must be two numbers");
        level_ = Level::tensor;
        return true;
    }

    bool key(string_t & name) {
        if (level_ != Level::tensor) {
            key_ = std::move(name);
            return true;
        }
        field_ = name == "dtype"          ? Field::dtype
                 : name == "shape"        ? Field::shape
                 : name == "data_offsets" ? Field::offsets
                                          : Field::other;
        const unsigned bit = field_ == Field::other ? 0 : 1u << static_cast<int>(field_);
        if (seen_ & bit) fail_here("has the field \"" + shown(name) + "\" twice");
        seen_ |= bit;
        return true;
    }

    bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception & error) {
        // The library's message repeats the last token, which may be megabytes of garbage.
        broken(file_, "the header is not valid JSON at byte " + std::to_string(position) + " (" + shown(error.what()) + ")");
    }

private:
    enum class Level { outside, file, metadata, tensor, list };
    enum class Field { dtype, shape, offsets, other };

    [[noreturn]] void fail_here(const std::string & what) const {
        if (level_ == Level::outside) broken(file_, "the header is not a JSON object");
        broken(file_, "\"" + shown(key_) + "\" in the header: " + what);
    }

    bool scalar(const std::string & what) {
        const bool ignored = level_ == Level::tensor && field_ == Field::other;  // fields of later versions
        if (!ignored) fail_here(what + " in an unexpected place");
        return true;
    }

    std::string file_;
    Level level_ = Level::outside;
    Field field_ = Field::other;
    std::string key_;
    unsigned seen_ = 0;
    int offset_count_ = 0;
    uint64_t metadata_count_ = 0, metadata_bytes_ = 0;
};

class SafetensorsSource : public ContiguousSource {
public:
    explicit SafetensorsSource(const MappedFilePtr & file) : ContiguousSource(file) {
        const std::string_view header = header_text();
        HeaderReader reader(name_);
        const uint8_t * begin = file_->data() + 8;
        if (!Json::sax_parse(begin, begin + header.size(), &reader)) broken(name_, "the header is not valid JSON");
        metadata_ = std::move(reader.metadata);
        place(std::move(reader.entries), 8 + header.size());
    }

    std::string metadata_json() const override { return Json(metadata_).dump(-1, ' ', false, Json::error_handler_t::replace); }

private:
    std::string_view header_text() const {
        if (file_->size() < 8)
            broken(name_, "has only " + std::to_string(file_->size()) + " bytes, too few for a safetensors file");
        const uint64_t length = load_u64(file_->data());
        if (length > max_safetensors_header) {
            broken(name_, "claims a safetensors header of " + std::to_string(length) + " bytes (at most 100 MB are allowed); " +
                              "it is damaged or not a safetensors file");
        }
        if (!file_->contains(8, length)) {
            broken(name_, "the safetensors header of " + std::to_string(length) + " bytes does not fit the file of " +
                              std::to_string(file_->size()) + "; the download was probably cut off");
        }
        const char * text = reinterpret_cast<const char *>(file_->data() + 8);
        if (length < 2 || *text != '{') broken(name_, "the safetensors header is not a JSON object");
        return {text, static_cast<size_t>(length)};
    }

    void check(const Entry & entry, uint64_t data_bytes) const {
        const std::string tensor = "the tensor \"" + shown(entry.info.name) + "\" ";
        if (entry.end < entry.begin) broken(name_, tensor + "ends before it begins");
        if (entry.end > data_bytes) {
            broken(name_, tensor + "ends at byte " + std::to_string(entry.end) + " of " + std::to_string(data_bytes) +
                              " data bytes; the download was probably cut off");
        }
        if (entry.info.bytes != entry.end - entry.begin) {
            broken(name_, tensor + "needs " + std::to_string(entry.info.bytes) + " bytes for its shape and type but has " +
                              std::to_string(entry.end - entry.begin));
        }
    }

    void place(std::vector<Entry> entries, uint64_t data_start) {
        const uint64_t data_bytes = file_->size() - data_start;
        for (Entry & entry : entries) {
            if (!tensor_bytes(entry.info.dtype, entry.info.shape, entry.info.bytes)) {
                broken(name_, "the tensor \"" + shown(entry.info.name) + "\" has an impossible shape");
            }
            if (entry.info.dtype == DType::opaque && entry.end >= entry.begin) entry.info.bytes = entry.end - entry.begin;
            check(entry, data_bytes);
        }
        std::sort(entries.begin(), entries.end(),
                  [](const Entry & a, const Entry & b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
        uint64_t covered = 0;
        std::vector<uint64_t> offsets;
        std::vector<TensorInfo> tensors;
        offsets.reserve(entries.size());
        tensors.reserve(entries.size());
        for (Entry & entry : entries) {
            if (entry.begin != covered) {
                broken(name_, "the tensor \"" + shown(entry.info.name) + "\" " +
                                  (entry.begin < covered ? "overlaps the one before it" : "leaves a gap before it"));
            }
            covered = entry.end;
            offsets.push_back(data_start + entry.begin);
            tensors.push_back(std::move(entry.info));
        }
        if (covered != data_bytes) broken(name_, std::to_string(data_bytes - covered) + " bytes follow the last tensor");
        set_layout(std::move(tensors), std::move(offsets));
    }

    std::map<std::string, std::string> metadata_;
};

}  // namespace

bool looks_like_safetensors(Span<const uint8_t> bytes) {
    return bytes.size() >= 10 && bytes[8] == '{' && load_u64(bytes.data()) <= max_safetensors_header;
}

TensorSourcePtr open_safetensors(const MappedFilePtr & file) {
    return std::make_shared<SafetensorsSource>(file);
}

}  // namespace latent::formats
