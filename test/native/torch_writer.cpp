#include "torch_writer.h"

#include <array>
#include <fstream>
#include <map>

#include "core/error.h"
#include "core/path.h"

namespace torch_writer {

namespace {

using golden::FileTensor;
using latent::DType;

template <typename T>
void put(std::string & out, T value) {
    for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
}

/// Protocol 2, no memo.
class Pickle {
public:
    std::string text = "\x80\x02";

    void global(const std::string & module, const std::string & name) { text += "c" + module + "\n" + name + "\n"; }
    void string(const std::string & value) {
        text += 'X';
        put<uint32_t>(text, static_cast<uint32_t>(value.size()));
        text += value;
    }
    void integer(int64_t value) {
        if (value >= 0 && value < (int64_t{1} << 31)) {
            text += 'J';
            put<int32_t>(text, static_cast<int32_t>(value));
            return;
        }
        text += "\x8a\x08";
        put<int64_t>(text, value);
    }
    void tuple(const std::vector<int64_t> & values) {
        text += '(';
        for (const int64_t value : values) integer(value);
        text += 't';
    }
    std::string done() { return text + '.'; }
};

const char * storage_name(DType type) {
    switch (type) {
        case DType::f32: return "FloatStorage";
        case DType::f16: return "HalfStorage";
        case DType::i64: return "LongStorage";
        case DType::i32: return "IntStorage";
        default: throw latent::Error(latent::ErrorCode::internal, "no storage for this type");
    }
}

size_t item_size(DType type) {
    return type == DType::f16 ? 2 : type == DType::i64 ? 8 : 4;
}

/// _rebuild_tensor_v2(('storage', type, key, 'cpu', count[, None]), 0, size, stride, False, OrderedDict())
void tensor(Pickle & pickle, const FileTensor & t, const std::string & key, bool legacy) {
    std::vector<int64_t> strides(t.shape.size(), 1);
    for (size_t i = t.shape.size(); i-- > 1;) strides[i - 1] = strides[i] * t.shape[i];
    pickle.global("torch._utils", "_rebuild_tensor_v2");
    pickle.text += "((";
    pickle.string("storage");
    pickle.global("torch", storage_name(t.dtype));
    pickle.string(key);
    pickle.string("cpu");
    pickle.integer(static_cast<int64_t>(t.data.size() / item_size(t.dtype)));
    pickle.text += legacy ? "NtQ" : "tQ";
    pickle.integer(0);
    pickle.tuple(t.shape);
    pickle.tuple(strides);
    pickle.text += "\x89";
    pickle.global("collections", "OrderedDict");
    pickle.text += ")RtR";
}

std::string state_dict(const std::vector<FileTensor> & tensors, const std::map<std::string, std::string> & keys, bool legacy) {
    Pickle pickle;
    pickle.text += "}(";
    pickle.string("global_step");
    pickle.integer(470000);
    pickle.string("state_dict");
    pickle.global("collections", "OrderedDict");
    pickle.text += ")R(";
    for (const FileTensor & t : tensors) {
        pickle.string(t.name);
        tensor(pickle, t, keys.at(t.name), legacy);
    }
    pickle.text += "uu";
    return pickle.done();
}

uint32_t crc32(const std::string & bytes) {
    static const std::array<uint32_t, 256> table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t c = i;
            for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
            t[i] = c;
        }
        return t;
    }();
    uint32_t crc = 0xFFFFFFFFu;
    for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 255] ^ (crc >> 8);
    return crc ^ 0xFFFFFFFFu;
}

/// Stored entries with the sizes in data descriptors, as torch's writer leaves them.
std::string zip(const std::vector<std::pair<std::string, std::string>> & entries) {
    std::string out, directory;
    for (const auto & [name, content] : entries) {
        const uint32_t offset = static_cast<uint32_t>(out.size()), crc = crc32(content),
                       size = static_cast<uint32_t>(content.size());
        const size_t start = out.size() + 30 + name.size() + 4;
        const uint16_t padding = static_cast<uint16_t>((64 - start % 64) % 64);
        out += "PK\x03\x04";
        for (const uint16_t v : {0, 0x0808, 0, 0, 0}) put<uint16_t>(out, v);
        for (int i = 0; i < 3; ++i) put<uint32_t>(out, 0);
        put<uint16_t>(out, static_cast<uint16_t>(name.size()));
        put<uint16_t>(out, static_cast<uint16_t>(4 + padding));
        out += name + "FB";
        put<uint16_t>(out, padding);
        out += std::string(padding, 'Z') + content;
        out += "PK\x07\x08";
        for (const uint32_t v : {crc, size, size}) put<uint32_t>(out, v);
        directory += "PK\x01\x02";
        for (const uint16_t v : {0, 0, 0x0808, 0, 0, 0}) put<uint16_t>(directory, v);
        for (const uint32_t v : {crc, size, size}) put<uint32_t>(directory, v);
        put<uint16_t>(directory, static_cast<uint16_t>(name.size()));
        for (int i = 0; i < 4; ++i) put<uint16_t>(directory, 0);
        put<uint32_t>(directory, 0);
        put<uint32_t>(directory, offset);
        directory += name;
    }
    const uint32_t at = static_cast<uint32_t>(out.size());
    out += directory + "PK\x05\x06";
    for (int i = 0; i < 2; ++i) put<uint16_t>(out, 0);
    for (int i = 0; i < 2; ++i) put<uint16_t>(out, static_cast<uint16_t>(entries.size()));
    put<uint32_t>(out, static_cast<uint32_t>(directory.size()));
    put<uint32_t>(out, at);
    put<uint16_t>(out, 0);
    return out;
}

std::string legacy_file(const std::string & object, const std::vector<std::pair<std::string, const FileTensor *>> & storages) {
    Pickle magic, protocol, system, keys;
    magic.text += std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
    protocol.integer(1001);
    system.text += "}(";
    system.string("little_endian");
    system.text += "\x88u";
    keys.text += "](";
    for (const auto & storage : storages) keys.string(storage.first);
    keys.text += 'e';
    std::string out = magic.done() + protocol.done() + system.done() + object + keys.done();
    for (const auto & storage : storages) {
        put<int64_t>(out, static_cast<int64_t>(storage.second->data.size() / item_size(storage.second->dtype)));
        out.append(reinterpret_cast<const char *>(storage.second->data.data()), storage.second->data.size());
    }
    return out;
}

}  // namespace

void write(const std::string & path, const std::vector<FileTensor> & tensors, const Options & options) {
    std::map<std::string, std::string> owner(options.shared.begin(), options.shared.end()), keys;
    std::vector<std::pair<std::string, const FileTensor *>> storages;
    for (const FileTensor & t : tensors) {
        if (owner.count(t.name)) continue;
        keys[t.name] = std::to_string(storages.size());
        storages.push_back({keys[t.name], &t});
    }
    for (const auto & [name, of] : owner) keys[name] = keys.at(of);
    const std::string object = state_dict(tensors, keys, options.legacy);
    std::string bytes;
    if (options.legacy) {
        bytes = legacy_file(object, storages);
    } else {
        std::vector<std::pair<std::string, std::string>> entries = {{"archive/data.pkl", object}};
        for (const auto & [key, t] : storages)
            entries.push_back({"archive/data/" + key, std::string(t->data.begin(), t->data.end())});
        entries.push_back({"archive/version", "3\n"});
        bytes = zip(entries);
    }
    std::ofstream file(latent::to_path(path), std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file) throw latent::Error(latent::ErrorCode::io, "cannot write " + path);
}

}  // namespace torch_writer
