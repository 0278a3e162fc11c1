#include <algorithm>
#include <cmath>
#include <set>

#include "allocation_meter.h"
#include "check.h"
#include "fixtures.h"
#include "formats/open.h"

using namespace latent;
using formats::open_model_file;

namespace {

const Json & manifest() {
    static const Json json = parse_json(fixture_bytes("manifest.json"), "manifest.json");
    return json.at("files");
}

void fail(const std::string & file, const std::string & what) {
    check::fail(file.c_str(), 0, what);
}

/// The name of the stored type in the manifest's words; block types and 8-bit floats are listed by what they decode to.
std::string listed_dtype(DType type) {
    switch (type) {
        case DType::f16: return "float16";
        case DType::bf16: return "bfloat16";
        case DType::f64: return "float64";
        case DType::i64: return "int64";
        case DType::i32: return "int32";
        case DType::i16: return "int16";
        case DType::i8: return "int8";
        case DType::u8: return "uint8";
        case DType::boolean: return "bool";
        default: return "float32";
    }
}

bool starts_as(const std::vector<double> & values, const Json & expected, size_t offset) {
    if (values.size() < offset + expected.size()) return false;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double e = expected[i].get<double>(), v = values[offset + i];
        if (v != e || std::signbit(v) != std::signbit(e)) return false;
    }
    return true;
}

bool values_match(const std::vector<double> & values, const Json & expected) {
    if (expected.contains("values"))
        return values.size() == expected["values"].size() && starts_as(values, expected["values"], 0);
    double sum = 0, sum_abs = 0;
    for (const double v : values) {
        sum += v;
        sum_abs += std::fabs(v);
    }
    const double tolerance = 1e-12 * expected["sum_abs"].get<double>();  // the order of summation
    return starts_as(values, expected["first"], 0) &&
           starts_as(values, expected["last"], values.size() - expected["last"].size()) &&
           std::fabs(sum - expected["sum"].get<double>()) <= tolerance &&
           std::fabs(sum_abs - expected["sum_abs"].get<double>()) <= tolerance;
}

void check_tensors(const std::string & file, const TensorSource & source, const Json & expected) {
    if (source.tensors().size() != expected.size()) fail(file, std::to_string(source.tensors().size()) + " tensors");
    for (const auto & entry : expected.items()) {
        const TensorInfo * tensor = source.find(entry.key());
        if (!tensor) {
            fail(file, "lacks " + entry.key());
            continue;
        }
        const Json & wanted = entry.value();
        if (Json(tensor->shape) != wanted["shape"]) fail(file, "shape of " + entry.key());
        if (listed_dtype(tensor->dtype) != wanted["dtype"]) fail(file, "type of " + entry.key());
        if (!values_match(tensor_values(source, *tensor), wanted)) fail(file, "values of " + entry.key());
    }
    read_everything(source);
}

/// The error of opening and reading everything, or nothing. Other exceptions than latent::Error are not caught.
std::string error_of(const std::string & path) {
    try {
        read_everything(*open_model_file(path));
        return "";
    } catch (const Error & error) {
        if (error.code() != ErrorCode::model_format && error.code() != ErrorCode::io)
            return std::string("WRONG CODE ") + error.what();
        return error.what();
    }
}

uint64_t size_of(const std::string & path) {
    return path_kind(path) == PathKind::file ? std::filesystem::file_size(to_path(path)) : uint64_t{1} << 16;
}

}  // namespace

TEST(good_files_have_the_listed_tensors) {
    int files = 0;
    for (const Json & entry : manifest()) {
        const std::string file = entry["file"];
        if (entry["must"] != "load" || entry.contains("inner")) continue;
        ++files;
        if (entry.value("or_refuse", false) && !error_of(fixture(file)).empty()) continue;
        check_tensors(file, *open_model_file(fixture(file)), entry["tensors"]);
        if (entry.contains("entry")) {
            check_tensors(file, *open_model_file(join_path(fixture(file), entry["entry"])), entry["tensors"]);
        }
    }
    CHECK(files == 36);
}

TEST(refused_files_are_refused) {
    int files = 0;
    for (const Json & entry : manifest()) {
        const std::string file = entry["file"];
        if (entry["must"] != "refuse") continue;
        for (const std::string & path : {fixture(file), join_path(fixture(file), entry.value("entry", ""))}) {
            if (path_kind(path) == PathKind::file && file_name(path) == "config.json") continue;  // below
            const std::string error = error_of(path);
            if (error.empty()) fail(file, "was not refused: " + entry["what"].get<std::string>());
            if (error.compare(0, 5, "WRONG") == 0) fail(file, error);
            if (error.size() > 600) fail(file, "a message of " + std::to_string(error.size()) + " characters");
        }
        ++files;
    }
    CHECK(files == 77);
}

TEST(forbidden_calls_are_ignored_or_refused) {
    int files = 0;
    for (const Json & entry : manifest()) {
        const std::string file = entry["file"];
        if (entry["must"] != "refuse or ignore") continue;
        try {
            const TensorSourcePtr source = open_model_file(fixture(file));
            read_everything(*source);
            for (const TensorInfo & tensor : source->tensors()) {
                if (tensor.name != "x") fail(file, "gave " + tensor.name);
            }
        } catch (const Error & error) {
            if (error.code() != ErrorCode::model_format) fail(file, error.what());
        }
        ++files;
    }
    CHECK(files == 5);
}

TEST(either_is_an_error_or_a_source) {
    int files = 0;
    for (const Json & entry : manifest()) {
        if (entry["must"] != "either") continue;
        error_of(fixture(entry["file"]));
        ++files;
    }
    CHECK(files == 1);
}

TEST(deeply_nested_configuration) {
    const std::string path = fixture("hostile/config-nesting/unet/config.json");
    CHECK_THROWS(parse_json(read_text_file(path), "config.json"), ErrorCode::model_format);
    CHECK_THROWS(open_model_file(path), ErrorCode::model_format);
}

TEST(outer_zip_tells_its_model) {
    try {
        open_model_file(fixture("release.zip"));
        CHECK(false);
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::model_format);
        CHECK(parse_json(error.details(), "details") == Json({{"reason", "outer_zip"}, {"inner", "model.ckpt"}}));
    }
}

TEST(stand_ins_are_named) {
    CHECK(error_of(fixture("hostile/lfs-pointer.safetensors")).find("git-lfs") != std::string::npos);
    CHECK(error_of(fixture("hostile/html.ckpt")).find("web page") != std::string::npos);
    CHECK(error_of(fixture("hostile/empty.ckpt")).find("empty") != std::string::npos);
    CHECK(error_of(fixture("deflated-entries.ckpt")).find("compressed") != std::string::npos);
    CHECK_THROWS(open_model_file(fixture("absent.safetensors")), ErrorCode::io);
    CHECK(error_of(fixture("absent.safetensors")).find("absent.safetensors") != std::string::npos);
}

TEST(opening_allocates_little) {
    for (const Json & entry : manifest()) {
        const std::string file = entry["file"], path = fixture(file);
        begin_allocation_meter();
        try {
            open_model_file(path);
        } catch (const Error &) {
        }
        const size_t limit = 65536 + 96 * size_of(path);
        if (peak_allocation() > limit) fail(file, "allocated " + std::to_string(peak_allocation()) + " bytes");
    }
}
