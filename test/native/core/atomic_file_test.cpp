#include "core/atomic_file.h"

#include <chrono>
#include <filesystem>

#include "check.h"
#include "core/job.h"
#include "core/path.h"
#include "temp_folder.h"

using namespace latent;

namespace {

void write(const std::string & path, const std::string & content) {
    AtomicFile file(path);
    file.write(content.data(), content.size());
    file.commit();
}

}  // namespace

TEST(atomic_file_appears_whole_or_not_at_all) {
    const TempFolder folder;
    const std::string target = folder.write("model.gguf", "old");
    {
        AtomicFile file(target);
        file.write("half", 4);
    }
    CHECK(read_text_file(target) == "old");
    CHECK(list_folder(folder.path()).size() == 1);
    write(target, "new");
    CHECK(read_text_file(target) == "new");
    CHECK(list_folder(folder.path()).size() == 1);
    CHECK_THROWS(AtomicFile(folder.file("missing/model.gguf")), ErrorCode::io);
    CHECK_THROWS(AtomicFile(folder.path()), ErrorCode::io);
}

TEST(atomic_file_seeks_back) {
    const TempFolder folder;
    AtomicFile file(folder.file("a"));
    file.write("----tail", 8);
    file.seek(0);
    file.write("head", 4);
    file.commit();
    CHECK(read_text_file(folder.file("a")) == "headtail");
}

#ifndef _WIN32
TEST(atomic_file_takes_the_longest_name_and_follows_links) {
    const TempFolder folder;
    const std::string longest(255, 'n');
    write(folder.file(longest), "x");
    CHECK(read_text_file(folder.file(longest)) == "x");
    std::filesystem::create_symlink("real.gguf", folder.file("link.gguf"));
    write(folder.file("link.gguf"), "through");
    CHECK(read_text_file(folder.file("real.gguf")) == "through");
    CHECK(std::filesystem::is_symlink(folder.file("link.gguf")));
    std::filesystem::create_symlink("b", folder.file("a"));
    std::filesystem::create_symlink("a", folder.file("b"));
    CHECK_THROWS(AtomicFile(folder.file("a")), ErrorCode::io);
}

TEST(atomic_file_removes_what_killed_processes_left) {
    const TempFolder folder;
    // No process has the first number: it is beyond what systems give. Nothing says that the others are ours or abandoned.
    const std::string abandoned = folder.write(".latent-999999999-1.part", "");
    const std::string young = folder.write(".latent-999999999-2.part", "");
    const std::string alive = folder.write(".latent-1-3.part", "");
    const std::string other = folder.write(".latent-x-4.part", "");
    const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(2);
    for (const std::string & file : {abandoned, alive, other}) std::filesystem::last_write_time(file, long_ago);
    write(folder.file("model.gguf"), "x");
    CHECK(path_kind(abandoned) == PathKind::missing);
    for (const std::string & file : {young, alive, other}) CHECK(path_kind(file) == PathKind::file);
}
#endif

TEST(a_sealed_job_is_not_cancelled) {
    CancelToken before;
    before.cancel();
    CHECK_THROWS(before.seal(), ErrorCode::aborted);
    CancelToken after;
    after.seal();
    after.cancel();
    CHECK(!after.cancelled());
    after.check();
}
