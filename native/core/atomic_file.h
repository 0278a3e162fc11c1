#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace latent {

/// A file that appears under its name only once it is complete: written in the same folder without a name (Linux) or under a
/// short hidden one, flushed to the disk, then renamed. Destroyed before commit(), it leaves nothing behind; where the process
/// was killed and the system keeps no nameless files, the next AtomicFile in that folder removes what was left. A symbolic link
/// is followed: the file that it names is replaced, not the link. Throws io.
class AtomicFile {
public:
    explicit AtomicFile(const std::string & destination_utf8);
    ~AtomicFile();
    AtomicFile(const AtomicFile &) = delete;
    AtomicFile & operator=(const AtomicFile &) = delete;

    void write(const void * data, size_t count);
    void seek(uint64_t position);
    void commit();

private:
    bool open_nameless();
    void close();
    [[noreturn]] void fail(const char * what) const;

    std::string destination_, temporary_;
    bool named_ = false;  // temporary_ is in the folder
    std::FILE * file_ = nullptr;
};

}  // namespace latent
