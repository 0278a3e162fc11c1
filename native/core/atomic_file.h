#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace latent {

/// A file that appears under its name only once it is complete: written in the same folder without a name (Linux) or under a
/// short hidden one, flushed to disk, then renamed. If destroyed before commit(), nothing remains. If the process is killed on a
/// system without unnamed files, the next AtomicFile in that folder removes the leftover. Symbolic links are followed: the target
/// is replaced, not the link. Throws io.
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
    bool named_ = false;  // temporary_ exists in the folder
    std::FILE * file_ = nullptr;
};

}  // namespace latent
