#include "allocation_meter.h"

#include <cstdlib>
#include <new>

namespace {

// Every block carries its size in front; 16 bytes keep the alignment that malloc gives.
constexpr size_t meter_header = 16;
size_t living = 0, peak = 0;  // the tests of this executable run on one thread

}  // namespace

void begin_allocation_meter() {
    living = 0;
    peak = 0;
}

size_t peak_allocation() {
    return peak;
}

void * operator new(size_t size) {
    char * block = static_cast<char *>(std::malloc(size + meter_header));
    if (!block) throw std::bad_alloc();
    *reinterpret_cast<size_t *>(block) = size;
    living += size;
    if (living > peak && living < static_cast<size_t>(-1) / 2) peak = living;
    return block + meter_header;
}

void operator delete(void * pointer) noexcept {
    if (!pointer) return;
    char * block = static_cast<char *>(pointer) - meter_header;
    living -= *reinterpret_cast<size_t *>(block);  // may fall below the start: blocks from before a measurement
    std::free(block);
}

void operator delete(void * pointer, size_t) noexcept {
    operator delete(pointer);
}
