#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

// A test is a function registered by TEST(name) { ... }; CHECK* record failures and go on. `run_tests` is main.
namespace check {

struct Test {
    const char * name;
    std::function<void()> body;
};

inline std::vector<Test> & tests() {
    static std::vector<Test> all;
    return all;
}

inline int & failures() {
    static int count = 0;
    return count;
}

inline bool add(const char * name, std::function<void()> body) {
    tests().push_back({name, std::move(body)});
    return true;
}

inline void fail(const char * file, int line, const std::string & what) {
    ++failures();
    std::fprintf(stderr, "    %s:%d: %s\n", file, line, what.c_str());
}

/// Runs the tests whose name contains argv[1] (all without it). Ends with "N passed, N failed".
inline int run(int argc, char ** argv) {
    int passed = 0, failed = 0;
    for (const Test & test : tests()) {
        if (argc > 1 && std::string(test.name).find(argv[1]) == std::string::npos) continue;
        const int before = failures();
        try {
            test.body();
        } catch (const std::exception & e) {
            fail(test.name, 0, std::string("unexpected exception: ") + e.what());
        }
        const bool ok = failures() == before;
        (ok ? passed : failed)++;
        std::printf("%s %s\n", ok ? "ok  " : "FAIL", test.name);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace check

#define TEST(name)                                                        \
    static void test_##name();                                            \
    static const bool registered_##name = check::add(#name, test_##name); \
    static void test_##name()

#define CHECK(condition)                                               \
    do {                                                               \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
    } while (false)

#define CHECK_NEAR(actual, expected, tolerance)                                                                         \
    do {                                                                                                                \
        const double a_ = (actual), e_ = (expected), t_ = (tolerance);                                                  \
        if (!(std::fabs(a_ - e_) <= t_))                                                                                \
            check::fail(__FILE__, __LINE__,                                                                             \
                        std::string(#actual " = ") + std::to_string(a_) + ", expected " + std::to_string(e_) + " +- " + \
                            std::to_string(t_));                                                                        \
    } while (false)

#define CHECK_THROWS(expression, error_code)                                                                         \
    do {                                                                                                             \
        bool thrown_ = false;                                                                                        \
        try {                                                                                                        \
            (void)(expression);                                                                                      \
        } catch (const latent::Error & e_) {                                                                         \
            thrown_ = true;                                                                                          \
            if (e_.code() != (error_code)) check::fail(__FILE__, __LINE__, std::string("wrong code: ") + e_.what()); \
        }                                                                                                            \
        if (!thrown_) check::fail(__FILE__, __LINE__, "no error from " #expression);                                 \
    } while (false)
