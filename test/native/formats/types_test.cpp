// Element types: those that are read as numbers, and those that are carried along until somebody needs them.
#include <cmath>
#include <cstring>

#include "check.h"
#include "core/json.h"
#include "formats/open.h"
#include "gguf_file.h"
#include "temp_folder.h"

using namespace latent;
using formats::open_model_file;

namespace {

std::string typed_file(const std::string & header, const std::string & data) {
    return GgufFile::le(header.size(), 8) + header + data;
}

std::vector<float> numbers_of(const TensorSource & source, const char * name) {
    return source.read_f32(*source.find(name));
}

}  // namespace

TEST(unsigned_and_small_types_are_read) {
    const TempFolder folder;
    const std::string header =
        R"({"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"U32","shape":[1],"data_offsets":[4,8]},)"
        R"("c":{"dtype":"U64","shape":[1],"data_offsets":[8,16]},"d":{"dtype":"F8_E8M0","shape":[3],"data_offsets":[16,19]},)"
        R"("e":{"dtype":"F4","shape":[2,2],"data_offsets":[19,21]}})";
    const std::string data = GgufFile::le(65535, 2) + GgufFile::le(7, 2) + GgufFile::le(4000000000u, 4) +
                             GgufFile::le(1u << 20, 8) + "\x7f\x80\xff" + "\x21\xfa";
    const TensorSourcePtr source = open_model_file(folder.write("types.safetensors", typed_file(header, data)));
    CHECK((numbers_of(*source, "a") == std::vector<float>{65535, 7}));
    CHECK((numbers_of(*source, "b") == std::vector<float>{4000000000.0f}));
    CHECK((numbers_of(*source, "c") == std::vector<float>{1048576}));
    const std::vector<float> scales = numbers_of(*source, "d");
    CHECK(scales[0] == 1 && scales[1] == 2 && std::isnan(scales[2]));
    CHECK((numbers_of(*source, "e") == std::vector<float>{0.5f, 1, -1, -6}));
    // Two elements to a byte: rows of an odd length have no place.
    CHECK_THROWS(open_model_file(folder.write("odd.safetensors",
                                              typed_file(R"({"e":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", "x"))),
                 ErrorCode::model_format);
}

TEST(unknown_types_matter_only_to_those_who_read_them) {
    const TempFolder folder;
    const std::string header =
        R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"complex":{"dtype":"C64","shape":[1],"data_offsets":[4,12]},)"
        R"("future":{"dtype":"F13","shape":[5],"data_offsets":[12,21]}})";
    const TensorSourcePtr source = open_model_file(
        folder.write("future.safetensors", typed_file(header, GgufFile::le(0x3f800000, 4) + "12345678" + "987654321")));
    CHECK(numbers_of(*source, "w").at(0) == 1);
    CHECK(source->find("complex")->type_name() == "c64" && source->find("complex")->bytes == 8);
    CHECK(source->find("future")->type_name() == "the unknown type F13" && source->find("future")->bytes == 9);
    CHECK(std::memcmp(source->view(*source->find("future")).data(), "987654321", 9) == 0);
    CHECK_THROWS(numbers_of(*source, "complex"), ErrorCode::model_format);
    CHECK_THROWS(numbers_of(*source, "future"), ErrorCode::model_format);
    // Its place in the file is checked all the same.
    CHECK_THROWS(open_model_file(folder.write("far.safetensors",
                                              typed_file(R"({"x":{"dtype":"F13","shape":[1],"data_offsets":[0,9]}})", "short"))),
                 ErrorCode::model_format);
}

TEST(gguf_types_that_are_new_or_unknown) {
    const TempFolder folder;
    GgufFile file;
    file.add_tensor("iq", {2, 256}, 20, std::string(2 * 8 * 18, 'x'));  // IQ4_NL
    file.add_tensor("future", {3}, 999, std::string(100, 'y'));
    file.add_tensor("w", {1}, 0, GgufFile::le(0x40000000, 4));
    const std::string path = folder.file("types.gguf");
    file.write(path);
    const TensorSourcePtr source = open_model_file(path);
    CHECK(source->find("iq")->dtype == DType::iq4_nl && source->find("iq")->bytes == 288);
    CHECK(source->find("future")->type_name() == "ggml's type 999" && source->find("future")->bytes >= 100);
    CHECK(source->view(*source->find("future")).data()[99] == 'y');
    CHECK_THROWS(numbers_of(*source, "future"), ErrorCode::model_format);
    CHECK(numbers_of(*source, "w").at(0) == 2);
}

TEST(gguf_shapes_from_before_rows_of_256) {
    const TempFolder folder;
    GgufFile file;
    file.add_list("comfy.gguf.orig_shape.conv", {8, 4, 4, 4});
    file.add_list("comfy.gguf.orig_shape.absent", {1});
    file.add_tensor("conv", {2, 256}, 12, std::string(2 * 144, '\0'));  // Q4_K
    file.write(folder.file("comfy.gguf"));
    const TensorSourcePtr source = open_model_file(folder.file("comfy.gguf"));
    CHECK((source->find("conv")->shape == std::vector<int64_t>{8, 4, 4, 4}) && source->find("conv")->bytes == 288);
    for (const std::vector<int32_t> & wrong : {std::vector<int32_t>{8, 4, 4, 2},
                                               {-8, 4, 4, -4},
                                               {},
                                               {1 << 30, 1 << 30, 1 << 30, 1 << 30},
                                               {2, 2, 2, 2, 2, 2, 2, 2, 2}}) {
        GgufFile bad;
        bad.add_list("comfy.gguf.orig_shape.conv", wrong);
        bad.add_tensor("conv", {2, 256}, 12, std::string(2 * 144, '\0'));
        bad.write(folder.file("bad.gguf"));
        CHECK_THROWS(open_model_file(folder.file("bad.gguf")), ErrorCode::model_format);
    }
}

TEST(tensors_without_elements) {
    const TempFolder folder;
    const std::string header =
        R"({"v_pred":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
        R"("ztsnr":{"dtype":"F16","shape":[2,0,3],"data_offsets":[4,4]}})";
    const TensorSourcePtr source =
        open_model_file(folder.write("markers.safetensors", typed_file(header, GgufFile::le(0x3f800000, 4))));
    CHECK(source->tensors().size() == 3 && numbers_of(*source, "v_pred").empty() && numbers_of(*source, "ztsnr").empty());
    GgufFile file;
    file.add_tensor("v_pred", {0}, 0, "");
    file.add_tensor("w", {1}, 0, GgufFile::le(0x3f800000, 4));
    file.write(folder.file("markers.gguf"));
    CHECK(numbers_of(*open_model_file(folder.file("markers.gguf")), "v_pred").empty());
}
