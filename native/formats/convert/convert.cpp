#include "formats/convert/convert.h"

#include <algorithm>

#include "core/atomic_file.h"
#include "core/cpu.h"
#include "core/path.h"
#include "core/text.h"
#include "core/weight_type.h"
#include "formats/containers/gguf_writer.h"
#include "formats/convert/quantise.h"

namespace latent::formats {

namespace {

constexpr int64_t chunk_elements = int64_t{1} << 21;
constexpr size_t most_metadata = 1000;  // entries that are copied

/// "*" stands for any text, "?" for one character.
bool glob(const std::string & pattern, const std::string & text) {
    size_t p = 0, t = 0, star = std::string::npos, mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == text[t] && pattern[p] != '*'))) {
            ++p, ++t;
        } else if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (star != std::string::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

int64_t inner_of(const TensorInfo & tensor) {
    return tensor.shape.empty() || tensor.shape[0] == 0 ? 1 : tensor.elements() / tensor.shape[0];
}

struct Plan {
    std::vector<GgufTensor> tensors;
    std::vector<GgufValue> values;
};

/// GGUF's own keys with numeric values: a text under such a key would make the file unreadable.
bool is_reserved(const std::string & key) {
    return key == "general.alignment" || key == "general.quantization_version" || key == "general.file_type";
}

void add_text(Plan & plan, const std::string & key, const std::string & text) {
    for (const GgufValue & value : plan.values) {
        if (value.key == key) return;
    }
    plan.values.push_back({key, text});
}

/// Short texts of the source's metadata are copied: licence, author, title.
void add_source_metadata(Plan & plan, const TensorSource & source) {
    const Json metadata = parse_json(source.metadata_json(), source.name() + ": metadata");
    if (!metadata.is_object()) return;
    for (const auto & item : metadata.items()) {
        const std::string & key = item.key();
        if (!item.value().is_string() || key.size() > 200 || key.rfind("latent.", 0) == 0 || is_reserved(key)) continue;
        if (plan.values.size() >= most_metadata) return;
        const std::string text = item.value().get<std::string>();
        if (text.size() > 65536) continue;
        const bool kept = key.rfind("general.", 0) == 0 || key.rfind("source.", 0) == 0;
        add_text(plan, kept ? key : "source." + key, text);
    }
}

Plan make_plan(const OpenedModel & model, const ConvertOptions & options) {
    Plan plan;
    Json shapes = Json::object();
    for (const TensorInfo & tensor : model.tensors->tensors()) {
        GgufTensor out{tensor.name, convert_type(networks::find_declared(*model.networks, tensor.name), tensor, options),
                       tensor.shape, 0};
        const bool flattened = (dtype_is_quantised(out.dtype) && tensor.shape.size() > 2) || tensor.shape.size() > 4;
        if (flattened) {
            shapes[tensor.name] = tensor.shape;
            out.shape = {tensor.shape[0], inner_of(tensor)};
        }
        out.bytes = dtype_bytes(out.dtype, tensor.elements());
        plan.tensors.push_back(std::move(out));
    }
    ModelSpec spec = model.spec;
    spec.use_ema = false;  // the file contains the selected weights
    spec.naming = "gguf";
    add_text(plan, "general.architecture", "latent-diffusion");
    for (const auto & item : options.metadata) {
        if (item.first.empty() || item.first.size() > 1000 || is_reserved(item.first)) {
            throw Error(ErrorCode::invalid_argument, "convert: metadata cannot be named \"" + item.first.substr(0, 80) +
                                                         "\"; the name is empty or reserved by GGUF");
        }
        if (item.first.rfind("latent.", 0) != 0) add_text(plan, item.first, item.second);
    }
    if (!spec.name.empty()) add_text(plan, "general.name", spec.name);
    plan.values.push_back({"general.quantization_version", "", 2, true});
    add_text(plan, "latent.spec", to_json(spec).dump());
    if (!shapes.empty()) add_text(plan, "latent.shapes", shapes.dump());
    const std::string & tokenizer = options.tokenizer.empty() ? model.tokenizer : options.tokenizer;
    if (!tokenizer.empty()) add_text(plan, "latent.tokenizer", tokenizer);
    add_source_metadata(plan, *model.tensors);
    return plan;
}

void check_space(const std::string & destination, uint64_t bytes) {
    std::error_code failed;
    const auto space = std::filesystem::space(to_path(parent_folder(destination)), failed);
    if (failed || space.available >= bytes) return;
    throw Error(ErrorCode::io,
                "\"" + destination + "\" needs " + std::to_string(bytes) + " bytes, the disk has " +
                    std::to_string(space.available) + " free",
                Json{{"needed", bytes}, {"available", space.available}}.dump());
}

class Conversion {
public:
    Conversion(const OpenedModel & model, AtomicFile & file, uint64_t position, const JobContext & job, int threads)
        : source_(*model.tensors), file_(file), job_(job), threads_(threads), position_(position) {
        for (const TensorInfo & tensor : source_.tensors()) total_ += tensor.bytes;
    }

    /// Writes one tensor and its padding. Makes `out` f32 where the values do not fit its type.
    void write(const TensorInfo & tensor, GgufTensor & out) {
        std::vector<uint8_t> copy;
        Span<const uint8_t> bytes = source_.view(tensor);
        if (bytes.empty() && tensor.bytes > 0) {
            copy.resize(static_cast<size_t>(tensor.bytes));
            source_.read(tensor, copy.data());
            bytes = copy;
        }
        const uint64_t before = done_;
        if (tensor.dtype == out.dtype) {
            copy_chunks(bytes);
        } else if (!convert_chunks(tensor, out, bytes)) {
            out.dtype = DType::f32;
            out.bytes = dtype_bytes(out.dtype, tensor.elements());
            file_.seek(position_);
            done_ = before;
            convert_chunks(tensor, out, bytes);
        }
        const uint8_t zeros[gguf_alignment] = {};
        file_.write(zeros, static_cast<size_t>(gguf_padding(out.bytes)));
        position_ += out.bytes + gguf_padding(out.bytes);
        source_.release(tensor);
    }

private:
    void step(uint64_t bytes) {
        done_ += bytes;
        reported_ = std::max(reported_, std::min(done_, total_));  // a tensor that is written again does not report twice
        job_.check();
        job_.report(Phase::convert, static_cast<int64_t>(reported_), static_cast<int64_t>(total_));
    }

    void copy_chunks(Span<const uint8_t> bytes) {
        constexpr size_t chunk = size_t{8} << 20;
        for (size_t at = 0; at < bytes.size(); at += chunk) {
            const size_t count = std::min(chunk, bytes.size() - at);
            file_.write(bytes.data() + at, count);
            step(count);
        }
    }

    /// Whole rows of the target and whole blocks of the source.
    static int64_t chunk_of(const TensorInfo & tensor, int64_t inner) {
        const int64_t rows = std::max<int64_t>(1, chunk_elements / std::max<int64_t>(1, inner));
        int64_t count = rows * inner;
        const int64_t block = dtype_block(tensor.dtype);
        while (count % block != 0 && count < tensor.elements()) count += inner;
        return std::min(count, tensor.elements());
    }

    /// False, with part of the tensor written, if a value does not fit the type.
    bool convert_chunks(const TensorInfo & tensor, const GgufTensor & out, Span<const uint8_t> bytes) {
        const int64_t elements = tensor.elements(), inner = std::max<int64_t>(1, inner_of(tensor)),
                      chunk = chunk_of(tensor, inner);
        for (int64_t at = 0; at < elements; at += chunk) {
            const int64_t count = std::min(chunk, elements - at);
            encoded_.resize(static_cast<size_t>(dtype_bytes(out.dtype, count)));
            const uint8_t * from = bytes.data() + dtype_bytes(tensor.dtype, at);
            if (!requantise(tensor.dtype, from, out.dtype, encoded_.data(), count / inner, inner, threads_)) return false;
            file_.write(encoded_.data(), encoded_.size());
            step(dtype_bytes(tensor.dtype, count));
        }
        return true;
    }

    const TensorSource & source_;
    AtomicFile & file_;
    const JobContext & job_;
    int threads_;
    uint64_t position_;  // in the file, of the current tensor
    uint64_t total_ = 0, done_ = 0, reported_ = 0;
    std::vector<uint8_t> encoded_;
};

}  // namespace

Json ConvertReport::to_json() const {
    return {{"tensors", tensors}, {"bytes", bytes}, {"sourceBytes", source_bytes}, {"tensorsByType", tensors_by_type}};
}

DType weight_type_from_name(const std::string & name) {
    if (const std::optional<DType> type = weight_type_named(name)) return *type;
    std::vector<std::string> names;
    for (const DType type : weight_types()) names.push_back(dtype_name(type));
    throw Error(ErrorCode::invalid_argument,
                "\"" + name.substr(0, 40) + "\" is not a weight type; " + enumerated(names) + " are");
}

DType convert_type(const networks::DeclaredTensor & declared, const TensorInfo & tensor, const ConvertOptions & options) {
    for (const auto & item : options.overrides) {
        if (!glob(item.first, tensor.name)) continue;
        return tensor.shape.size() < 2 && dtype_is_quantised(item.second) ? DType::f32
                                                                          : fitting_type(item.second, inner_of(tensor));
    }
    if (tensor.shape.size() < 2) return DType::f32;
    return weight_type(*declared.parameter, options.part_defaults ? part_default(declared.part, options.type) : options.type);
}

ConvertReport convert(const OpenedModel & model, const std::string & destination, const ConvertOptions & requested,
                      const JobContext & job) {
    job.check();
    ConvertOptions options = requested;
    options.part_defaults = requested.part_defaults && model.spec.unet.has_value();  // not when only a first stage was requested
    Plan plan = make_plan(model, options);
    std::vector<uint8_t> header = gguf_header(plan.values, plan.tensors);
    uint64_t expected = header.size();
    for (const GgufTensor & tensor : plan.tensors) expected += tensor.bytes + gguf_padding(tensor.bytes);
    check_space(destination, expected);

    AtomicFile file(destination);
    file.write(header.data(), header.size());
    Conversion conversion(model, file, header.size(), job, options.threads > 0 ? options.threads : usable_cores());
    ConvertReport report;
    for (const TensorInfo & tensor : model.tensors->tensors()) report.source_bytes += tensor.stored_bytes();
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
        model.tensors->check_files();
        conversion.write(model.tensors->tensors()[i], plan.tensors[i]);
        ++report.tensors_by_type[dtype_name(plan.tensors[i].dtype)];
        report.bytes += plan.tensors[i].bytes + gguf_padding(plan.tensors[i].bytes);
    }
    // Types may have changed meanwhile; the length of the header does not depend on them.
    header = gguf_header(plan.values, plan.tensors);
    file.seek(0);
    file.write(header.data(), header.size());
    model.tensors->check_files();
    job.seal();  // from here on the file exists, so a later abort has no effect
    file.commit();
    report.tensors = static_cast<int64_t>(plan.tensors.size());
    report.bytes += header.size();
    return report;
}

}  // namespace latent::formats
