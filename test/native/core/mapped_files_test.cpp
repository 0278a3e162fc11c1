#include <cstring>

#include "check.h"
#include "core/mapped_file.h"
#include "core/path.h"
#include "temp_folder.h"

using namespace latent;

TEST(mapped_file_shows_the_bytes) {
    const TempFolder folder;
    std::string content(300000, '\0');
    for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 % 251);
    const MappedFile file(folder.write("weights.bin", content));
    CHECK(file.size() == content.size());
    CHECK(std::memcmp(file.data(), content.data(), content.size()) == 0);
    CHECK(file.contains(300000, 0) && !file.contains(300000, 1) && !file.contains(1, UINT64_MAX));
    file.will_need(5000, 200000);
    file.release(5000, 200000);  // the pages come back from the file
    file.release(0, UINT64_MAX);
    CHECK(std::memcmp(file.data(), content.data(), content.size()) == 0);
}

TEST(mapped_file_errors_name_the_path) {
    const TempFolder folder;
    CHECK_THROWS(MappedFile(folder.file("absent.bin")), ErrorCode::io);
    CHECK_THROWS(MappedFile(folder.path()), ErrorCode::io);
    CHECK_THROWS(MappedFile(folder.write("empty.bin", "")), ErrorCode::model_format);
    CHECK_THROWS(MappedFile(std::string("nul\0character", 13)), ErrorCode::io);
#ifndef _WIN32
    CHECK_THROWS(MappedFile("/dev/zero"), ErrorCode::io);
#endif
    try {
        const MappedFile file(folder.file("absent.bin"));
    } catch (const Error & error) {
        CHECK(std::string(error.what()).find(folder.file("absent.bin")) != std::string::npos);
    }
}

TEST(paths_of_any_length_and_script) {
    const TempFolder folder;
    std::string deep = "\xd0\xbc\xd0\xbe\xd0\xb4\xd0\xb5\xd0\xbb\xd1\x8c-\xf0\x9f\x8e\xa8";
    while (deep.size() < 600) deep += "/a-folder-name-of-forty-characters-in-all";
    const std::string where = join_path(folder.folder(deep), "\xe3\x83\xa2\xe3\x83\x87\xe3\x83\xab.bin");
    std::ofstream(to_path(where), std::ios::binary) << "deep";
    const MappedFile file(where);
    CHECK(file.size() == 4 && std::memcmp(file.data(), "deep", 4) == 0);
    CHECK(read_text_file(where) == "deep");
    CHECK(list_folder(folder.file(deep)) == std::vector<std::string>{"\xe3\x83\xa2\xe3\x83\x87\xe3\x83\xab.bin"});
}

TEST(path_parts) {
    CHECK(file_name("a/b/model.ckpt") == "model.ckpt");
    CHECK(file_name("a/unet/") == "unet");
    CHECK(parent_folder("a/b/model.ckpt") == "a/b");
    CHECK(parent_folder("model.ckpt") == ".");
    CHECK(join_path("a", "b") == "a/b" && join_path("a/", "b") == "a/b" && join_path("", "b") == "b");
    CHECK(is_plain_file_name("model-00001-of-00002.safetensors"));
    for (const char * unsafe : {"", ".", "..", "../x", "/x", "a/b", "a\\b", "C:x", "a\nb"}) CHECK(!is_plain_file_name(unsafe));
}

TEST(small_files) {
    const TempFolder folder;
    CHECK(read_text_file(folder.write("config.json", "{}")) == "{}");
    CHECK(read_text_file(folder.write("empty.json", "")).empty());
    CHECK_THROWS(read_text_file(folder.write("long.json", std::string(1000, ' ')), 999), ErrorCode::model_format);
    CHECK_THROWS(read_text_file(folder.file("absent.json")), ErrorCode::io);
    CHECK_THROWS(read_text_file(folder.path()), ErrorCode::io);
    CHECK_THROWS(list_folder(folder.file("absent")), ErrorCode::io);
    CHECK(path_kind(folder.path()) == PathKind::folder);
    CHECK(path_kind(folder.file("config.json")) == PathKind::file);
    CHECK(path_kind(folder.file("absent")) == PathKind::missing);
}
