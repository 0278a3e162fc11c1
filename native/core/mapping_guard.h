#pragma once

#include <cstddef>
#include <cstdint>

namespace latent {

/// Keeps the process alive if pages of a mapped file cannot be read any more, because another process shortened the file or the
/// disk failed; POSIX then raises SIGBUS. While any mapping is guarded, a signal handler is installed. For a fault inside a
/// guarded mapping it maps zeros and marks the mapping; other faults go to the previous handler. Windows does not allow
/// shortening a mapped file, so nothing is installed there.
///
/// At most 1024 mappings per process are guarded.
class MappingGuard {
public:
    /// [data, data + bytes) must stay mapped for as long as this lives.
    MappingGuard(const void * data, size_t bytes);
    ~MappingGuard();
    MappingGuard(const MappingGuard &) = delete;
    MappingGuard & operator=(const MappingGuard &) = delete;

    /// Whether zeros were mapped in place of data of the file.
    bool lost() const;

private:
    struct Slot;
    static Slot slots_[];
    Slot * slot_ = nullptr;
    friend struct MappingGuardHandler;
};

}  // namespace latent
