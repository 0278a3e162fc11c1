#include <cstring>
#include <ctime>

#include "allocation_meter.h"
#include "check.h"
#include "fixtures.h"
#include "formats/open.h"
#include "gguf_file.h"
#include "temp_folder.h"

using namespace latent;
using formats::find_weights_file;
using formats::open_model_file;

namespace {

std::string le(uint64_t value, size_t width) {
    std::string bytes;
    for (size_t i = 0; i < width; ++i) bytes += i < 8 ? static_cast<char>(value >> (8 * i)) : '\0';
    return bytes;
}

std::string safetensors(const std::string & header, const std::string & data) {
    return le(header.size(), 8) + header + data;
}

std::string one_tensor(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", le(bits, 4));
}

float value_of(const std::string & path, const std::string & variant = "") {
    const TensorSourcePtr source = open_model_file(path, variant);
    return source->read_f32(source->tensors().at(0)).at(0);
}

std::string message_of(const std::string & path) {
    try {
        open_model_file(path);
        return "";
    } catch (const Error & error) {
        return error.what();
    }
}

/// A zip archive of stored entries, in the 64-bit form, with extra fields in the local headers only, as torch writes them.
class Zip64Writer {
public:
    explicit Zip64Writer(const std::string & path) : out_(to_path(path), std::ios::binary | std::ios::trunc) {}

    /// `size` may exceed the content: the rest is left as a hole of zeros.
    void add(const std::string & name, const std::string & content, uint64_t size) {
        const uint64_t offset = static_cast<uint64_t>(out_.tellp());
        const std::string padding = "FB" + le(5, 2) + "ZZZZZ";
        out_ << "PK\x03\x04" << le(45, 2) << le(0x0808, 2) << le(0, 18) << le(name.size(), 2) << le(padding.size(), 2) << name
             << padding;
        out_ << content;
        out_.seekp(static_cast<std::streamoff>(offset + 30 + name.size() + padding.size() + size));
        const std::string extra = le(1, 2) + le(24, 2) + le(size, 8) + le(size, 8) + le(offset, 8);
        directory_ += "PK\x01\x02" + le(45, 2) + le(45, 2) + le(0x0808, 2) + le(0, 10) + le(0xffffffff, 4) + le(0xffffffff, 4) +
                      le(name.size(), 2) + le(extra.size(), 2) + le(0, 10) + le(0xffffffff, 4) + name + extra;
        ++count_;
    }
    void add(const std::string & name, const std::string & content) { add(name, content, content.size()); }

    void finish() {
        const uint64_t start = static_cast<uint64_t>(out_.tellp());
        out_ << directory_ << "PK\x06\x06" << le(44, 8) << le(45, 2) << le(45, 2) << le(0, 8) << le(count_, 8) << le(count_, 8)
             << le(directory_.size(), 8) << le(start, 8);
        out_ << "PK\x06\x07" << le(0, 4) << le(start + directory_.size(), 8) << le(1, 4);
        out_ << "PK\x05\x06" << le(0, 4) << le(0xffff, 2) << le(0xffff, 2) << le(0xffffffff, 4) << le(0xffffffff, 4) << le(0, 2);
        out_.close();
    }

private:
    std::ofstream out_;
    std::string directory_;
    uint64_t count_ = 0;
};

/// Pickle of {"x0": tensor, "x1": ...}: `count` float tensors of [rows, columns], each a storage of its own.
std::string pickle_of_tensors(int count, uint32_t rows, uint32_t columns) {
    const auto text = [](const std::string & t) { return "X" + le(t.size(), 4) + t; };
    std::string pickle = "\x80\x02}(";
    for (int i = 0; i < count; ++i) {
        pickle += text("x" + std::to_string(i)) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                  "ctorch\nFloatStorage\n" + text(std::to_string(i)) + text("cpu") + "J" + le(uint64_t{rows} * columns, 4) +
                  "tQK" + le(0, 1) + "J" + le(rows, 4) + "J" + le(columns, 4) + "\x86J" + le(columns, 4) + "K\x01\x86\x89" +
                  "ccollections\nOrderedDict\n)RtR";
    }
    return pickle + "u.";
}

struct Cost {
    double milliseconds = 0;  // of the processor: what else runs does not count
    size_t heap = 0;
};

Cost cost_of_opening(const std::string & path) {
    begin_allocation_meter();
    const std::clock_t start = std::clock();
    const TensorSourcePtr source = open_model_file(path);
    return {1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, peak_allocation()};
}

}  // namespace

TEST(zip64_archive_of_torch) {
    const TempFolder folder;
    const std::string path = folder.file("zip64.ckpt");
    Zip64Writer zip(path);
    zip.add("any root/data.pkl", pickle_of_tensors(1, 2, 1));
    zip.add("any root/data/0", le(0x3f800000, 4) + le(0x40000000, 4));
    zip.finish();
    const TensorSourcePtr source = open_model_file(path);
    CHECK((source->read_f32(source->tensors().at(0)) == std::vector<float>{1.0f, 2.0f}));
    CHECK(source->view(source->tensors()[0]).size() == 8);
}

TEST(shared_prefixes_are_not_multiplied) {
    const TempFolder folder;
    const std::string prefix(1000, 'p');
    std::string pickle = "\x80\x02}X" + le(prefix.size(), 4) + prefix + "}(";
    for (int i = 0; i < 100000; ++i) pickle += "X" + le(6, 4) + std::to_string(100000 + i) + "N";
    pickle += "us.";
    const std::string path = folder.file("long-names.ckpt");
    Zip64Writer zip(path);
    zip.add("archive/data.pkl", pickle);
    zip.finish();
    begin_allocation_meter();
    CHECK(message_of(path).find("too long") != std::string::npos);
    CHECK(peak_allocation() < 64 * pickle.size());
}

TEST(two_gigabytes_open_at_once) {
    constexpr int tensors = 500;
    constexpr uint32_t rows = 1024, columns = 1024;  // 4 MB each, never written: sparse files
    const TempFolder folder;
    const std::string zip_path = folder.file("large.ckpt");
    Zip64Writer zip(zip_path);
    zip.add("archive/data.pkl", pickle_of_tensors(tensors, rows, columns));
    for (int i = 0; i < tensors; ++i) zip.add("archive/data/" + std::to_string(i), "", uint64_t{rows} * columns * 4);
    zip.finish();

    Json header = Json::object();
    for (int i = 0; i < tensors; ++i) {
        const uint64_t begin = uint64_t{rows} * columns * 4 * static_cast<uint64_t>(i);
        header["x" + std::to_string(i)] = {
            {"dtype", "F32"}, {"shape", {rows, columns}}, {"data_offsets", {begin, begin + uint64_t{rows} * columns * 4}}};
    }
    const std::string head = header.dump();
    const std::string path = folder.write("large.safetensors", safetensors(head, ""));
    std::filesystem::resize_file(to_path(path), 8 + head.size() + uint64_t{rows} * columns * 4 * tensors);

    for (const std::string & file : {zip_path, path}) {
        const Cost cost = cost_of_opening(file);
        CHECK(cost.heap < size_t{2} << 20);
        CHECK(cost.milliseconds < 200);  // usually 1 to 3; the bound only has to tell it from reading 2 GB
        const TensorSourcePtr source = open_model_file(file);
        CHECK(source->tensors().size() == tensors);
        const TensorInfo * last = source->find("x499");
        CHECK(last && last->bytes == uint64_t{rows} * columns * 4 && source->view(*last).size() == last->bytes);
        CHECK(last && source->read_f32(*last).back() == 0.0f);
    }
}

TEST(safetensors_header_corners) {
    const TempFolder folder;
    const auto refused = [&](const std::string & bytes) {
        const std::string message = message_of(folder.write("m.safetensors", bytes));
        return !message.empty();
    };
    const std::string four(4, '\0');
    CHECK(!refused(safetensors("{}", "")));
    CHECK(!refused(safetensors(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )", four)));
    CHECK(!refused(safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"later":"field"}})", four)));
    CHECK(refused(safetensors(R"({"x":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four)));
    CHECK(refused(safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", four)));
    CHECK(refused(safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", four)));
    CHECK(refused(safetensors(R"({"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", four)));
    CHECK(refused(safetensors(R"({"x":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", four)));
    CHECK(refused(safetensors(R"({"x":[]})", "")));
    CHECK(refused(safetensors(R"({"x":null})", "")));
    CHECK(refused(safetensors(R"({}x)", "")));
}

TEST(safetensors_metadata_and_a_large_header) {
    const TensorSourcePtr source = open_model_file(fixture("plain.safetensors"));
    const Json metadata = parse_json(source->metadata_json(), "metadata");
    CHECK(metadata.is_object() && !metadata.empty());
    CHECK(source->name() == "plain.safetensors");

    const TempFolder folder;  // 8 MB of header: little more than that is allocated
    std::string header = "{";
    for (int i = 0; header.size() < (size_t{8} << 20); ++i) {
        header += "\"block." + std::to_string(i) + R"(.weight":{"dtype":"F16","shape":[0,320],"data_offsets":[0,0]},)";
    }
    header.back() = '}';
    const std::string path = folder.write("many.safetensors", safetensors(header, ""));
    CHECK(cost_of_opening(path).heap < 6 * header.size());
}

TEST(folders_prefer_safetensors_and_plain_files) {
    const TempFolder folder;
    const std::string unet = folder.folder("unet");
    CHECK(find_weights_file(unet).empty());
    CHECK_THROWS(open_model_file(unet), ErrorCode::model_format);
    CHECK_THROWS(open_model_file(folder.file("absent")), ErrorCode::io);

    folder.write("unet/diffusion_pytorch_model.fp16.safetensors", one_tensor(16));
    CHECK(value_of(unet) == 16);  // no plain file
    folder.write("unet/diffusion_pytorch_model.bin", fixture_bytes("handmade.pth"));
    CHECK(file_name(find_weights_file(unet)) == "diffusion_pytorch_model.bin");
    folder.write("unet/diffusion_pytorch_model.safetensors", one_tensor(32));
    CHECK(value_of(unet) == 32);
    CHECK(value_of(unet, "fp16") == 16);
    CHECK(value_of(unet, "absent") == 32);
    CHECK((formats::weight_variants(unet) == std::vector<std::string>{"fp16"}));

    // Other variants: the usual ones first, else the only one, else the caller decides.
    const std::string vae = folder.folder("vae");
    folder.write("vae/diffusion_pytorch_model.non_ema.safetensors", one_tensor(1));
    CHECK(value_of(vae) == 1);
    folder.write("vae/diffusion_pytorch_model.fp32.safetensors", one_tensor(2));
    CHECK_THROWS(open_model_file(vae), ErrorCode::model_format);
    CHECK(message_of(vae).find("fp32, non_ema") != std::string::npos);
    CHECK(value_of(vae, "fp32") == 2);
    folder.write("vae/diffusion_pytorch_model.bf16.safetensors", one_tensor(3));
    CHECK(value_of(vae) == 3);
    folder.write("vae/diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "a shard is no variant");
    CHECK((formats::weight_variants(vae) == std::vector<std::string>{"bf16", "fp32", "non_ema"}));
    const std::string sharded = folder.folder("sharded");
    folder.write("sharded/model-00001-of-00001.ema.safetensors", one_tensor(5));
    folder.write("sharded/model.safetensors.index.ema.json", R"({"weight_map":{"x":"model-00001-of-00001.ema.safetensors"}})");
    CHECK(value_of(sharded) == 5);

    const std::string text = folder.folder("text_encoder");
    folder.write("text_encoder/model.safetensors", one_tensor(1));
    folder.write("text_encoder/pytorch_model.bin", fixture_bytes("handmade.pth"));
    CHECK(value_of(text) == 1);
}

TEST(folder_with_a_sharded_variant) {
    const TempFolder folder;
    const std::string unet = folder.folder("unet");
    folder.write("unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors", one_tensor(7));
    folder.write("unet/diffusion_pytorch_model.safetensors.index.fp16.json",
                 R"({"metadata":{"total_size":4},"weight_map":{"x":"diffusion_pytorch_model-00001-of-00001.fp16.safetensors"}})");
    CHECK(value_of(unet) == 7);
    const TensorSourcePtr source = open_model_file(unet);
    CHECK(parse_json(source->metadata_json(), "metadata") == Json({{"total_size", 4}}));
    CHECK(source->view(source->tensors()[0]).size() == 4);
}

TEST(a_pipeline_folder_says_where_its_weights_are) {
    const TempFolder folder;
    folder.write("model_index.json", R"({"_class_name":"StableDiffusionPipeline"})");
    CHECK(message_of(folder.path()).find("subfolders") != std::string::npos);
}

namespace {

std::string gguf_text(const std::string & text) {
    return le(text.size(), 8) + text;
}
std::string gguf_head(uint64_t tensors, uint64_t values, uint32_t version = 3) {
    return "GGUF" + le(version, 4) + le(tensors, 8) + le(values, 8);
}

}  // namespace

TEST(gguf_metadata_of_every_type) {
    const TempFolder folder;
    const std::string values =
        gguf_text("u8") + le(0, 4) + le(200, 1) + gguf_text("i8") + le(1, 4) + le(0xff, 1) + gguf_text("u16") + le(2, 4) +
        le(65535, 2) + gguf_text("i16") + le(3, 4) + le(0xfffe, 2) + gguf_text("u32") + le(4, 4) + le(4000000000u, 4) +
        gguf_text("i32") + le(5, 4) + le(0xfffffffd, 4) + gguf_text("f32") + le(6, 4) + le(0x3fc00000, 4) + gguf_text("bool") +
        le(7, 4) + le(1, 1) + gguf_text("latent.text") + le(8, 4) + gguf_text("a\nb") + gguf_text("u64") + le(10, 4) +
        le(uint64_t{1} << 63, 8) + gguf_text("i64") + le(11, 4) + le(UINT64_MAX, 8) + gguf_text("f64") + le(12, 4) +
        le(0x4004000000000000u, 8) + gguf_text("words") + le(9, 4) + le(8, 4) + le(2, 8) + gguf_text("one") + gguf_text("two") +
        gguf_text("nested") + le(9, 4) + le(9, 4) + le(1, 8) + le(0, 4) + le(2, 8) + le(0x0201, 2);
    const TensorSourcePtr source = open_model_file(folder.write("m.gguf", gguf_head(0, 14, 2) + values));
    const Json expected = {{"u8", 200},
                           {"i8", -1},
                           {"u16", 65535},
                           {"i16", -2},
                           {"u32", 4000000000u},
                           {"i32", -3},
                           {"f32", 1.5},
                           {"bool", true},
                           {"latent.text", "a\nb"},
                           {"u64", uint64_t{1} << 63},
                           {"i64", -1},
                           {"f64", 2.5},
                           {"words", {"one", "two"}},
                           {"nested", Json::array({{1, 2}})}};
    CHECK(parse_json(source->metadata_json(), "metadata") == expected);

    const std::string numbers = gguf_text("scores") + le(9, 4) + le(0, 4) + le(300000, 8) + std::string(300000, '\1');
    const TensorSourcePtr large = open_model_file(folder.write("large.gguf", gguf_head(0, 1) + numbers));
    CHECK(large->metadata_json() == "{}");  // too many elements to be given
}

TEST(gguf_corners) {
    const TempFolder folder;
    const auto message = [&](const std::string & bytes) { return message_of(folder.write("m.gguf", bytes)); };
    const std::string value = gguf_text("k") + le(0, 4) + le(1, 1);
    CHECK(message(gguf_head(0, 2) + value + value).find("twice") != std::string::npos);
    CHECK(message(gguf_head(0, 1) + gguf_text("k") + le(13, 4) + le(0, 8)).find("unknown type") != std::string::npos);
    CHECK(message(gguf_head(0, 1) + gguf_text("general.alignment") + le(4, 4) + le(24, 4)).find("alignment") !=
          std::string::npos);
    CHECK(message(gguf_head(0, 1) + gguf_text("k") + le(9, 4) + le(0, 4) + le(uint64_t{1} << 60, 8)).find("array") !=
          std::string::npos);
    CHECK(message("GGUF" + le(0x03000000, 4) + std::string(16, '\0')).find("big-endian") != std::string::npos);

    std::string deep = gguf_text("k") + le(9, 4);
    for (int i = 0; i < 1000; ++i) deep += le(9, 4) + le(1, 8);
    CHECK(message(gguf_head(0, 1) + deep + le(0, 12)).find("deeply") != std::string::npos);

    const auto tensor = [](const std::string & name, uint64_t offset) {
        return gguf_text(name) + le(2, 4) + le(3, 8) + le(2, 8) + le(0, 4) + le(offset, 8);
    };
    const auto with_data = [](std::string head, size_t bytes) {
        head.resize((head.size() + 31) / 32 * 32);
        return head + std::string(bytes, '\0');
    };
    CHECK(message(with_data(gguf_head(1, 0) + tensor("a", 0), 24)).empty());
    CHECK(message(with_data(gguf_head(1, 0) + tensor("a", 0), 23)).find("cut off") != std::string::npos);
    CHECK(message(with_data(gguf_head(1, 0) + tensor("a", 8), 64)).find("aligned") != std::string::npos);
    CHECK(message(with_data(gguf_head(2, 0) + tensor("a", 0) + tensor("b", 0), 64)).find("overlaps") != std::string::npos);
    CHECK(message(with_data(gguf_head(2, 0) + tensor("a", 0) + tensor("a", 32), 64)).find("twice") != std::string::npos);
    CHECK(message(with_data(gguf_head(2, 0) + tensor("a", 0) + tensor("b", 32), 56)).empty());
    const TensorSourcePtr source = open_model_file(folder.file("m.gguf"));
    CHECK((source->tensors()[0].shape == std::vector<int64_t>{2, 3}));  // torch order
}

TEST(outer_zip_prefers_model_ckpt) {
    const TempFolder folder;
    Zip64Writer zip(folder.file("release.zip"));
    zip.add("__MACOSX/._model.ckpt", "x");
    zip.add("release/larger.ckpt", "1234567");
    zip.add("release/model.ckpt", "123");
    zip.finish();
    try {
        open_model_file(folder.file("release.zip"));
        CHECK(false);
    } catch (const Error & error) {
        CHECK(parse_json(error.details(), "details").at("inner") == "release/model.ckpt");
    }
    Zip64Writer pictures(folder.file("pictures.zip"));
    pictures.add("a.png", "x");
    pictures.finish();
    CHECK(message_of(folder.file("pictures.zip")).find("without a model") != std::string::npos);
}

TEST(metadata_without_measure_is_refused) {
    const TempFolder folder;
    std::string entries;
    for (int i = 0; i < 200000; ++i) entries += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
    const std::string many = folder.write("many.safetensors", safetensors(R"({"__metadata__":{)" + entries + "}}", ""));
    const std::string long_text =
        folder.write("long.safetensors", safetensors(R"({"__metadata__":{"log":")" + std::string(17 << 20, 'x') + R"("}})", ""));
    std::string tensors;
    for (int i = 0; i < 140000; ++i)
        tensors += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    const std::string crowd = folder.write("crowd.safetensors", safetensors("{" + tensors + "}", ""));
    for (const std::string & path : {many, long_text, crowd}) {
        begin_allocation_meter();
        CHECK_THROWS(open_model_file(path), ErrorCode::model_format);
        CHECK(peak_allocation() < size_t{100} << 20);
    }
    // A trainer's log of a few megabytes is fine.
    const std::string log = std::string(4 << 20, 'x');
    const std::string fine = folder.write(
        "fine.safetensors",
        safetensors(
            R"({"__metadata__":{"ss_tag_frequency":")" + log + R"("},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""));
    CHECK(open_model_file(fine)->metadata_json().size() > log.size());
}

TEST(gguf_metadata_without_measure_is_refused) {
    const TempFolder folder;
    GgufFile many, lists;
    for (int i = 0; i < 20000; ++i) many.add("k" + std::to_string(i), 0, "x");
    for (int i = 0; i < 9; ++i) {
        lists.add("k" + std::to_string(i), 9, le(0, 4) + le(1 << 18, 8) + std::string(1 << 18, 'x'));
    }
    for (const GgufFile & file : {many, lists}) {
        file.write(folder.file("metadata.gguf"));
        begin_allocation_meter();
        CHECK_THROWS(open_model_file(folder.file("metadata.gguf")), ErrorCode::model_format);
        CHECK(peak_allocation() < size_t{40} << 20);
    }
}

TEST(a_text_that_a_pickle_repeats_is_kept_a_few_times) {
    const TempFolder folder;
    std::string pickle = pickle_of_tensors(1, 1, 1);
    pickle.resize(pickle.size() - 2);  // "u."
    const auto short_text = [](const std::string & text) { return "U" + le(text.size(), 1) + text; };
    pickle += short_text("t") + "X" + le(1 << 20, 4) + std::string(1 << 20, 'x') + "q" + le(0, 1);
    for (int i = 0; i < 50000; ++i) pickle += short_text(std::to_string(i)) + "h" + le(0, 1);
    Zip64Writer zip(folder.file("repeats.ckpt"));
    zip.add("a/data.pkl", pickle + "u.");
    zip.add("a/data/0", le(0, 4));
    zip.finish();
    begin_allocation_meter();
    const TensorSourcePtr source = open_model_file(folder.file("repeats.ckpt"));
    CHECK(source->metadata_json().size() < size_t{20} << 20);
    CHECK(peak_allocation() < size_t{200} << 20);  // 50 GB if all were kept
}

TEST(zip_directories_without_measure_are_refused) {
    const TempFolder folder;
    Zip64Writer zip(folder.file("entries.ckpt"));
    for (int i = 0; i < 140000; ++i) zip.add(std::to_string(i), "");
    zip.finish();
    begin_allocation_meter();
    CHECK_THROWS(open_model_file(folder.file("entries.ckpt")), ErrorCode::model_format);
    CHECK(peak_allocation() < size_t{4} << 20);
}
