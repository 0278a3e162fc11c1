#include "core/environment.h"

#include <cstdlib>

#include "check.h"
#include "core/error.h"

using namespace latent;

namespace {

void set_variable(const char * name, const char * value) {
#if defined(_WIN32)
    _putenv_s(name, value);
#else
    setenv(name, value, 1);
#endif
}

}  // namespace

TEST(environment_choices_exist) {
    const char * name = "LATENT_TEST_CHOICE";
    CHECK(environment_choice(name, {"a", "b"}).empty());
    set_variable(name, "b");
    CHECK(environment_choice(name, {"a", "b"}) == "b");
    for (const char * wrong : {"c", "B", " b", "b\xff"}) {
        set_variable(name, wrong);
        CHECK_THROWS(environment_choice(name, {"a", "b"}), ErrorCode::invalid_argument);
    }
    try {
        environment_choice(name, {"a", "b"});
    } catch (const Error & e) {
        CHECK(std::string(e.what()).find("LATENT_TEST_CHOICE is \"b\xff\"") != std::string::npos);
        CHECK(std::string(e.what()).find("a, b") != std::string::npos);
    }
    set_variable(name, "");
    CHECK(environment_choice(name, {"a", "b"}).empty());
}
