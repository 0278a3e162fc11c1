#pragma once

#include <cstddef>
#include <cstdint>

namespace latent {

/// Keeps the process alive where pages of a mapped file cannot be read any more: another process has shortened the file, or the
/// disk failed. POSIX raises SIGBUS then. While any mapping is guarded, a handler for it is installed; a fault inside of one puts
/// zeros in place of what is lost and marks it, every other goes on to the handler that was there before. Windows does not let a
/// mapped file be shortened, and nothing is installed there.
///
/// A process has room for 1024 guarded mappings; those beyond are not guarded.
class MappingGuard {
public:
    /// [data, data + bytes) must stay mapped for as long as this lives.
    MappingGuard(const void * data, size_t bytes);
    ~MappingGuard();
    MappingGuard(const MappingGuard &) = delete;
    MappingGuard & operator=(const MappingGuard &) = delete;

    /// Whether something was read that is not the file's.
    bool lost() const;

private:
    struct Slot;
    static Slot slots_[];
    Slot * slot_ = nullptr;
    friend struct MappingGuardHandler;
};

}  // namespace latent
