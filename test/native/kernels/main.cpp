#include <cstdio>

#include "check.h"
#include "reference.h"

/// Says which sets of kernels this processor runs: all of them are tested.
int main(int argc, char ** argv) {
    std::printf("kernels:");
    kernel_tests::for_every_set([](const auto & set) { std::printf(" %s", set.name); });
    std::printf("; rows:");
    kernel_tests::for_every_vector_set([](const auto & set) { std::printf(" %s", set.name); });
    std::printf("; int8:");
    kernel_tests::for_every_int8_set([](const auto & set) { std::printf(" %s", set.name); });
    std::printf("\n");
    return check::run(argc, argv);
}
