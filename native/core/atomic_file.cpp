#include "core/atomic_file.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <random>
#include <system_error>

#include "core/error.h"
#include "core/path.h"

#ifdef _WIN32
#include <io.h>
#include <process.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace latent {
namespace {

constexpr char kPrefix[] = ".latent-";
constexpr char kSuffix[] = ".part";

long long process_id() {
#ifdef _WIN32
    return _getpid();
#else
    return getpid();
#endif
}

/// False only if there is certainly no such process.
bool may_be_alive(long long id) {
#ifdef _WIN32
    const HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, static_cast<DWORD>(id));
    if (!process) return GetLastError() != ERROR_INVALID_PARAMETER;
    CloseHandle(process);
    return true;
#else
    return ::kill(static_cast<pid_t>(id), 0) == 0 || errno != ESRCH;
#endif
}

/// The process that wrote one of our temporary files, 0 for other names.
long long writer_of(const std::string & name) {
    const size_t prefix = sizeof(kPrefix) - 1, suffix = sizeof(kSuffix) - 1;
    if (name.size() <= prefix + suffix || name.compare(0, prefix, kPrefix) != 0) return 0;
    if (name.compare(name.size() - suffix, suffix, kSuffix) != 0) return 0;
    long long id = 0;
    for (size_t i = prefix; i < name.size() && name[i] != '-'; ++i) {
        if (name[i] < '0' || name[i] > '9' || id > 1'000'000'000'000) return 0;
        id = id * 10 + (name[i] - '0');
    }
    return id;
}

/// Removes files left by killed processes, unless they are younger than an hour: they may belong to a process in another
/// container that shares the folder.
void remove_abandoned(const std::string & folder) {
    using namespace std::filesystem;
    std::error_code ignored;
    for (directory_iterator entry(to_path(folder), ignored), end; !ignored && entry != end; entry.increment(ignored)) {
        const long long writer = writer_of(to_utf8(entry->path().filename()));
        if (writer == 0 || may_be_alive(writer)) continue;
        std::error_code unknown;
        const auto written = entry->last_write_time(unknown);
        if (unknown || file_time_type::clock::now() - written < std::chrono::hours(1)) continue;
        remove(entry->path(), unknown);
    }
}

/// The end of a chain of symbolic links, whether or not a file exists there.
std::string follow_links(const std::string & path) {
    std::filesystem::path at = to_path(path);
    for (int hops = 0; hops < 40; ++hops) {
        std::error_code failed;
        if (!std::filesystem::is_symlink(std::filesystem::symlink_status(at, failed)) || failed) return to_utf8(at);
        const std::filesystem::path next = std::filesystem::read_symlink(at, failed);
        if (failed) return to_utf8(at);
        at = next.is_absolute() ? next : at.parent_path() / next;
    }
    throw Error(ErrorCode::io, "Cannot write \"" + path + "\": its symbolic links form a loop");
}

std::FILE * open_for_writing(const std::string & path) {
#ifdef _WIN32
    return _wfopen(to_path(path).c_str(), L"wbx");
#else
    return std::fopen(to_path(path).c_str(), "wbx");
#endif
}

void flush_folder(const std::string & folder) {
#ifndef _WIN32
    const int handle = ::open(to_path(folder).c_str(), O_RDONLY);  // makes the rename itself durable, if the system supports it
    if (handle < 0) return;
    ::fsync(handle);
    ::close(handle);
#else
    (void)folder;
#endif
}

}  // namespace

AtomicFile::AtomicFile(const std::string & destination) : destination_(follow_links(destination)) {
    const std::string folder = parent_folder(destination_);
    if (path_kind(folder) != PathKind::folder) {
        throw Error(ErrorCode::io, "Cannot write \"" + destination + "\": its folder does not exist");
    }
    const PathKind kind = path_kind(destination_);
    if (kind != PathKind::missing && kind != PathKind::file) {
        throw Error(ErrorCode::io, "Cannot write \"" + destination + "\": it exists and is not a file");
    }
    remove_abandoned(folder);
    std::random_device random;
    // Short, so that any name that the system accepts for the final file works.
    temporary_ = join_path(folder, kPrefix + std::to_string(process_id()) + '-' + std::to_string(random()) + kSuffix);
    if (open_nameless()) return;
    file_ = open_for_writing(temporary_);
    if (!file_) fail("create");
    named_ = true;
}

/// Linux, on file systems that support it: an unnamed file, which disappears with the process unless it is given a name.
bool AtomicFile::open_nameless() {
#ifdef O_TMPFILE
    if (::access("/proc/self/fd", X_OK) != 0) return false;  // needed to name it later
    const int handle = ::open(to_path(parent_folder(destination_)).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (handle < 0) return false;
    file_ = ::fdopen(handle, "wb");
    if (!file_) ::close(handle);
#endif
    return file_ != nullptr;
}

AtomicFile::~AtomicFile() {
    close();
    std::error_code ignored;
    if (named_) std::filesystem::remove(to_path(temporary_), ignored);
}

void AtomicFile::close() {
    if (file_) std::fclose(file_);
    file_ = nullptr;
}

void AtomicFile::fail(const char * what) const {
    const std::string reason = std::generic_category().message(errno);
    throw Error(ErrorCode::io, std::string("Cannot ") + what + " \"" + destination_ + "\": " + reason);
}

void AtomicFile::write(const void * data, size_t count) {
    if (count > 0 && std::fwrite(data, 1, count, file_) != count) fail("write");
}

void AtomicFile::seek(uint64_t position) {
#ifdef _WIN32
    if (_fseeki64(file_, static_cast<int64_t>(position), SEEK_SET) != 0) fail("seek in");
#else
    if (fseeko(file_, static_cast<off_t>(position), SEEK_SET) != 0) fail("seek in");
#endif
}

void AtomicFile::commit() {
    bool flushed = std::fflush(file_) == 0;
#ifdef _WIN32
    flushed = flushed && _commit(_fileno(file_)) == 0;
#else
    flushed = flushed && ::fsync(fileno(file_)) == 0;
#endif
    if (!flushed) fail("write");
#ifdef O_TMPFILE
    if (!named_) {
        const std::string nameless = "/proc/self/fd/" + std::to_string(fileno(file_));
        if (::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, to_path(temporary_).c_str(), AT_SYMLINK_FOLLOW) != 0) fail("name");
        named_ = true;
    }
#endif
    std::FILE * file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) fail("close");
    std::error_code failed;
    std::filesystem::rename(to_path(temporary_), to_path(destination_), failed);
    if (failed) throw Error(ErrorCode::io, "Cannot rename the finished file to \"" + destination_ + "\": " + failed.message());
    named_ = false;
    flush_folder(parent_folder(destination_));
}

}  // namespace latent
