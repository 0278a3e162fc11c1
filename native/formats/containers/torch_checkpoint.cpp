#include "formats/containers/torch_checkpoint.h"

#include <algorithm>
#include <cstring>

#include "core/path.h"
#include "formats/containers/bytes.h"
#include "formats/containers/legacy_storages.h"
#include "formats/containers/torch_tensors.h"

namespace latent::formats {

namespace {

constexpr uint64_t longest_pickle = uint64_t{256} << 20;

void copy_swapped(uint8_t * destination, const uint8_t * source, size_t width, size_t number) {
    for (size_t at = 0; at < width; at += number) std::reverse_copy(source + at, source + at + number, destination + at);
}

template <size_t width>
void copy_row(uint8_t * destination, const uint8_t * source, uint64_t count, uint64_t stride) {
    for (uint64_t i = 0; i < count; ++i) std::memcpy(destination + i * width, source + i * stride * width, width);
}

/// One innermost row: `stride` in elements. `swapped`: size of the numbers whose bytes are in the other order, 0 if none.
void copy_strided(uint8_t * destination, const uint8_t * source, uint64_t count, uint64_t stride, size_t width, size_t swapped) {
    if (swapped > 0) {
        for (uint64_t i = 0; i < count; ++i) copy_swapped(destination + i * width, source + i * stride * width, width, swapped);
        return;
    }
    if (stride == 1 || count == 1) {
        std::memcpy(destination, source, static_cast<size_t>(count * width));
        return;
    }
    switch (width) {
        case 1: copy_row<1>(destination, source, count, stride); break;
        case 2: copy_row<2>(destination, source, count, stride); break;
        case 4: copy_row<4>(destination, source, count, stride); break;
        case 8: copy_row<8>(destination, source, count, stride); break;
        default: copy_row<16>(destination, source, count, stride); break;  // two float64
    }
}

class TorchSource : public TensorSource {
public:
    TorchSource(MappedFilePtr file, const Unpickler & pickle, ValueId root, const StorageLookup & find_storage, bool swapped)
        : file_(std::move(file)), swapped_(swapped) {
        name_ = file_name(file_->path());
        std::vector<StridedTensor> tensors = collect_tensors(pickle, root, name_, file_->size(), find_storage);
        std::vector<TensorInfo> infos;
        infos.reserve(tensors.size());
        places_.reserve(tensors.size());
        for (StridedTensor & tensor : tensors) {
            if (!file_->contains(tensor.offset, tensor.extent)) broken(name_, "a storage lies beyond the end of the file");
            infos.push_back(std::move(tensor.info));
            places_.push_back(
                {tensor.offset, tensor.extent, tensor.contiguous ? std::vector<uint64_t>() : std::move(tensor.strides)});
        }
        set_tensors(std::move(infos));
        metadata_ = collect_metadata(pickle, root);
    }

    Span<const uint8_t> view(const TensorInfo & tensor) const override {
        const Place & place = places_.at(tensor.index);
        if (!place.strides.empty() || swapped_bytes(tensor) > 0) return {};
        return {file_->data() + place.offset, static_cast<size_t>(tensor.bytes)};
    }

    void read(const TensorInfo & tensor, void * destination) const override {
        if (tensor.bytes == 0) return;
        const Place & place = places_.at(tensor.index);
        const uint8_t * source = file_->data() + place.offset;
        uint8_t * out = static_cast<uint8_t *>(destination);
        const size_t width = static_cast<size_t>(dtype_block_bytes(tensor.dtype));
        if (place.strides.empty()) {
            copy_strided(out, source, tensor.bytes / width, 1, width, swapped_bytes(tensor));
        } else {
            gather(tensor, place.strides, source, out, width);
        }
    }

    std::vector<FileRange> places(const TensorInfo & tensor) const override {
        const Place & place = places_.at(tensor.index);
        return {{file_, place.offset, place.extent}};
    }

    void check_files() const override { file_->check(); }

    std::string metadata_json() const override { return metadata_; }

private:
    struct Place {
        uint64_t offset = 0, extent = 0;
        std::vector<uint64_t> strides;  // in elements; empty: contiguous
    };

    /// Size of the numbers whose bytes are in the other order, 0 if none. A complex number is two of them.
    size_t swapped_bytes(const TensorInfo & tensor) const {
        const size_t width = static_cast<size_t>(dtype_block_bytes(tensor.dtype));
        const bool complex = tensor.dtype == DType::c64 || tensor.dtype == DType::c128;
        return !swapped_ || width == 1 ? 0 : complex ? width / 2 : width;
    }

    /// Iterates over the outer axes and copies the innermost one row by row.
    void gather(const TensorInfo & tensor, const std::vector<uint64_t> & strides, const uint8_t * source, uint8_t * out,
                size_t width) const {
        const size_t inner = strides.size() - 1;
        const uint64_t row = static_cast<uint64_t>(tensor.shape[inner]);
        std::vector<int64_t> at(inner, 0);
        uint64_t position = 0;
        for (uint64_t done = 0; done < tensor.bytes; done += row * width) {
            copy_strided(out + done, source + position * width, row, strides[inner], width, swapped_bytes(tensor));
            for (size_t axis = inner; axis-- > 0;) {
                position += strides[axis];
                if (++at[axis] < tensor.shape[axis]) break;
                position -= strides[axis] * static_cast<uint64_t>(tensor.shape[axis]);
                at[axis] = 0;
            }
        }
    }

    MappedFilePtr file_;
    bool swapped_;
    std::vector<Place> places_;
    std::string metadata_;
};

std::string_view trimmed(Span<const uint8_t> bytes) {
    std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
    return text;
}

bool is_big_endian(const ZipArchive & archive, const std::string & root, const std::string & name) {
    const ZipEntry * entry = archive.find(root + "byteorder");
    if (!entry) return false;  // absent before torch 2.1, when data were little-endian
    const std::string_view order = trimmed(archive.data(*entry));
    if (order != "little" && order != "big") broken(name, "has the unknown byte order \"" + shown(order) + "\"");
    return order == "big";
}

StorageRange find_entry(const ZipArchive & archive, const std::string & root, std::string_view key, const std::string & name) {
    const bool plain = !key.empty() && key.size() <= 256 && std::all_of(key.begin(), key.end(), [](char c) {
        return c > 0x20 && c != '/' && c != '\\' && c != ':' && c != 0x7f;
    });
    if (!plain || key == "." || key == "..") broken(name, "a tensor names the unsafe storage \"" + shown(key) + "\"");
    const ZipEntry * entry = archive.find(root + "data/" + std::string(key));
    if (!entry) broken(name, "the archive has no storage \"" + shown(key) + "\"");
    return {archive.data_offset(*entry), entry->size};
}

// The first pickle holds this number (torch.serialization.MAGIC_NUMBER, 0x1950a86a20f9469cfc6c), little-endian.
constexpr char legacy_magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr int64_t legacy_protocol = 1001;

}  // namespace

std::string_view find_torch_pickle(const ZipArchive & archive) {
    constexpr std::string_view tail = "/data.pkl";
    for (const ZipEntry & entry : archive.entries()) {
        const std::string_view name = entry.name;
        if (name.size() > tail.size() && name.find('/') == name.size() - tail.size() &&
            name.substr(name.size() - tail.size()) == tail) {
            return name;
        }
    }
    return {};
}

TensorSourcePtr open_torch_zip(const MappedFilePtr & file, const ZipArchive & archive) {
    const std::string name = file_name(file->path());
    const std::string_view pickle_name = find_torch_pickle(archive);
    const std::string root(pickle_name.substr(0, pickle_name.size() - std::strlen("data.pkl")));
    if (archive.find(root + "constants.pkl")) {
        broken(name, "is a TorchScript program, not a checkpoint of weights", R"({"reason":"torchscript"})");
    }
    const Span<const uint8_t> bytes = archive.data(*archive.find(pickle_name));
    if (bytes.size() > longest_pickle) broken(name, "has a pickle of " + std::to_string(bytes.size()) + " bytes");
    const bool swapped = is_big_endian(archive, root, name);
    Unpickler pickle(bytes, name);
    const ValueId object = pickle.run();
    const auto find = [&](std::string_view key) { return find_entry(archive, root, key, name); };
    return std::make_shared<TorchSource>(file, pickle, object, find, swapped);
}

TensorSourcePtr open_torch_legacy(const MappedFilePtr & file) {
    const std::string name = file_name(file->path());
    Unpickler pickle(file->bytes(), name);
    const PickleValue magic = pickle.at(pickle.run());
    if (magic.kind != ValueKind::big_integer || magic.text() != std::string_view(legacy_magic, sizeof legacy_magic - 1)) {
        broken(name, "is a Python pickle, but not a torch checkpoint");
    }
    const PickleValue protocol = pickle.at(pickle.run());
    if (protocol.kind != ValueKind::integer || protocol.integer != legacy_protocol) {
        broken(name, "is a legacy torch checkpoint of an unknown version");
    }
    pickle.run();  // sizes and byte order of the machine that wrote it; storages are little-endian regardless
    const ValueId object = pickle.run();
    const ValueId keys = pickle.run();
    if (!pickle.is(keys, ValueKind::list)) broken(name, "the list of storages is damaged");
    const StorageRanges storages = place_legacy_storages(pickle, keys, ByteReader(file->bytes(), name, pickle.position()));
    const auto find = [&](std::string_view key) {
        const auto found = storages.find(key);
        if (found == storages.end()) broken(name, "the file has no storage \"" + shown(key) + "\"");
        return found->second;
    };
    return std::make_shared<TorchSource>(file, pickle, object, find, false);
}

bool looks_like_pickle(Span<const uint8_t> bytes) {
    return bytes.size() >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
}

}  // namespace latent::formats
