#ifndef _WIN32
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "check.h"
#include "core/json.h"
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

#ifdef __linux__
namespace {

/// Resident bytes of the mapping that contains `address`.
uint64_t resident_bytes(const void * address) {
    std::ifstream maps("/proc/self/smaps");
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
        unsigned long long first = 0, last = 0, kilobytes = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx ", &first, &last) == 2) inside = first <= at && at < last;
        if (inside && std::sscanf(line.c_str(), "Rss: %llu kB", &kilobytes) == 1) return kilobytes * 1024;
    }
    return 0;
}

}  // namespace

TEST(mapped_file_evicts_pages_with_their_neighbours) {
    const TempFolder folder;
    // A fault maps the pages around it, on some systems a huge page, which is also dropped as a whole.
    constexpr uint64_t size = 48 << 20, part = 6 << 20, around = 2 * (2 << 20);
    const MappedFile file(folder.write("weights.bin", std::string(size, 'w')));
    const auto touch = [&](uint64_t begin, uint64_t end) {
        unsigned sum = 0;
        for (uint64_t i = begin; i < end; i += 512) sum += static_cast<const volatile uint8_t *>(file.data())[i];
        return sum;
    };
    touch(0, size);
    CHECK(resident_bytes(file.data()) == size);
    file.advise(3 * part, part, PageHint::evict);
    const uint64_t left = resident_bytes(file.data());
    CHECK(left <= size - part && left >= size - part - around);
    // Part by part, each dropped after its use: never more than one, and what a fault maps around it.
    file.advise(0, size, PageHint::evict);
    CHECK(resident_bytes(file.data()) == 0);
    for (uint64_t at = 1000; at + part <= size; at += part) {
        file.advise(at, part, PageHint::need);
        touch(at, at + part);
        CHECK(resident_bytes(file.data()) <= part + around);
        file.advise(at, part, PageHint::evict);
    }
    CHECK(resident_bytes(file.data()) <= around);
    // Beyond the file: nothing happens.
    file.advise(size - 10, 20, PageHint::evict);
    file.advise(0, UINT64_MAX, PageHint::evict);
    CHECK(touch(0, size) == 'w' * static_cast<unsigned>(size / 512));
}
#endif

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

#ifndef _WIN32

namespace {

/// What `work` throws within a few seconds; the process ends where it hangs.
std::string message_soon(const std::function<void()> & work) {
    alarm(10);
    std::string message;
    try {
        work();
    } catch (const Error & error) {
        message = error.what();
    }
    alarm(0);
    return message;
}

std::atomic<int> other_faults{0};

void other_handler(int, siginfo_t *, void *) {
    ++other_faults;
}

}  // namespace

TEST(pipes_and_devices_are_refused_at_once) {
    const TempFolder folder;
    const std::string pipe = folder.file("pipe.safetensors");
    CHECK(mkfifo(to_path(pipe).c_str(), 0600) == 0);
    for (const std::string & path : {pipe, std::string("/dev/zero")}) {
        CHECK(message_soon([&] { MappedFile file(path); }).find("not a regular file") != std::string::npos);
        CHECK(message_soon([&] { read_text_file(path); }).find("not a regular file") != std::string::npos);
        CHECK(message_soon([&] { InputFile file(path); }).find("not a regular file") != std::string::npos);
    }
    // A link is looked through, whatever it leads to.
    CHECK(symlink(to_path(pipe).c_str(), to_path(folder.file("link.json")).c_str()) == 0);
    CHECK(message_soon([&] { read_text_file(folder.file("link.json")); }).find("not a regular file") != std::string::npos);
}

TEST(shortened_file_is_an_error_not_the_end) {
    const TempFolder folder;
    const std::string path = folder.write("model.bin", std::string(1 << 20, 'x'));
    const MappedFile file(path), other(folder.write("other.bin", std::string(1 << 16, 'y')));
    file.check();
    CHECK(truncate(to_path(path).c_str(), 5000) == 0);
    try {
        file.check();
        CHECK(false);
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::io);
        const Json details = parse_json(error.details(), "details");
        CHECK(details["reason"] == "file_changed" && details["size"] == 5000 && details["expected"] == (1 << 20));
    }
    // What is lost reads as zeros, from several threads at once; what is there stays.
    std::atomic<int> sum{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 4; ++i) {
        readers.emplace_back([&, i] {
            for (size_t at = (1 << 20) - 1 - static_cast<size_t>(i); at > 8192; at -= 4096) sum += file.data()[at];
        });
    }
    for (std::thread & reader : readers) reader.join();
    CHECK(sum == 0 && file.data()[0] == 'x' && other.data()[60000] == 'y');
    // Made as long as before, the file has other bytes, and what was lost stays lost.
    CHECK(truncate(to_path(path).c_str(), 1 << 20) == 0);
    CHECK_THROWS(file.check(), ErrorCode::io);
    other.check();
}

TEST(bus_errors_of_others_go_to_their_handler) {
    struct sigaction theirs {
    }, now{}, original{};
    theirs.sa_sigaction = other_handler;
    theirs.sa_flags = SA_SIGINFO;
    sigemptyset(&theirs.sa_mask);
    CHECK(sigaction(SIGBUS, &theirs, &original) == 0);
    {
        const TempFolder folder;
        const MappedFile file(folder.write("model.bin", "bytes"));
        CHECK(sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_sigaction != other_handler);
        raise(SIGBUS);
        CHECK(other_faults == 1);
    }
    // Without a mapping there is no handler of ours.
    CHECK(sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_sigaction == other_handler);
    sigaction(SIGBUS, &original, nullptr);
}

#endif
