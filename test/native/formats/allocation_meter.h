#pragma once

#include <cstddef>

// Counts what `new` hands out in this executable.

/// Starts a measurement: the bytes that live now count as none.
void begin_allocation_meter();
/// The most bytes that lived at one time since then.
size_t peak_allocation();
