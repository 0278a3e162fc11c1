#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "core/path.h"

/// GGUF files for tests, byte by byte: what the engine's own writer never writes can be written too.
class GgufFile {
public:
    static std::string le(uint64_t value, int bytes) {
        std::string out;
        for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
        return out;
    }
    static std::string text(const std::string & value) { return le(value.size(), 8) + value; }

    void add_text(const std::string & key, const std::string & value) { add(key, 8, text(value)); }
    void add_list(const std::string & key, const std::vector<int32_t> & values) {
        std::string bytes = le(5, 4) + le(values.size(), 8);
        for (const int32_t value : values) bytes += le(static_cast<uint32_t>(value), 4);
        add(key, 9, bytes);
    }
    /// `type`: enum gguf_type.
    void add(const std::string & key, uint32_t type, const std::string & value) {
        values_ += text(key) + le(type, 4) + value;
        ++value_count_;
    }

    /// `shape`: outermost first. `type`: enum ggml_type.
    void add_tensor(const std::string & name, const std::vector<int64_t> & shape, uint32_t type, const std::string & data) {
        tensors_ += text(name) + le(shape.size(), 4);
        for (size_t i = shape.size(); i-- > 0;) tensors_ += le(static_cast<uint64_t>(shape[i]), 8);
        tensors_ += le(type, 4) + le(data_.size(), 8);
        data_ += data;
        data_.resize((data_.size() + 31) / 32 * 32, '\0');
        ++tensor_count_;
    }

    std::string bytes() const {
        std::string out = "GGUF" + le(3, 4) + le(tensor_count_, 8) + le(value_count_, 8) + values_ + tensors_;
        out.resize((out.size() + 31) / 32 * 32, '\0');
        return out + data_;
    }
    void write(const std::string & path) const { std::ofstream(latent::to_path(path), std::ios::binary) << bytes(); }

private:
    std::string values_, tensors_, data_;
    uint64_t value_count_ = 0, tensor_count_ = 0;
};
