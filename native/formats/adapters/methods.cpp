#include "formats/adapters/methods.h"

#include <algorithm>
#include <set>

namespace latent::formats {
namespace {

using Roles = std::vector<std::string>;

/// Tensors that are applied together, or not at all.
struct Method {
    Roles required, optional;
};

bool has_all(const AdapterLayer & layer, const Roles & roles) {
    return std::all_of(roles.begin(), roles.end(), [&](const std::string & role) { return layer.has(role.c_str()); });
}

/// LoKr with each factor as the file gives it: whole, or as a product of two, the second also with a core.
Method kronecker_method(const AdapterLayer & layer) {
    Method method;
    for (const std::string factor : {"lokr_w1", "lokr_w2"}) {
        const bool whole = layer.has(factor.c_str());
        const Roles roles = whole ? Roles{factor} : Roles{factor + "_a", factor + "_b"};
        method.required.insert(method.required.end(), roles.begin(), roles.end());
        if (!whole && factor == "lokr_w2") method.optional = {"lokr_t2"};
    }
    return method;
}

/// Changes of the weight's numbers by a product, of which a layer has one.
std::vector<Method> products(const AdapterLayer & layer) {
    return {{{"down", "up"}, {"mid", "up_bias"}},
            {{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, {"hada_t1", "hada_t2"}},
            kronecker_method(layer),
            {{"a1", "a2", "b1", "b2"}, {}}};
}

/// Methods that act beside each other and beside a product.
const std::vector<Method> & others() {
    static const std::vector<Method> methods = {{{"diff"}, {}},
                                                {{"w_norm"}, {}},
                                                {{"set"}, {}},
                                                {{"diff_b"}, {}},
                                                {{"b_norm"}, {}},
                                                {{"weight", "on_input"}, {}},
                                                {{"oft_blocks"}, {"rescale"}},
                                                {{"oft_r"}, {}}};
    return methods;
}

}  // namespace

void set_aside_unused(AdapterLayer & layer) {
    std::set<std::string> used;
    const auto use = [&](const Method & method) {
        used.insert(method.required.begin(), method.required.end());
        used.insert(method.optional.begin(), method.optional.end());
    };
    for (const Method & method : products(layer)) {
        if (!has_all(layer, method.required)) continue;
        use(method);
        used.insert(layer.has("magnitude") ? "magnitude" : "dora_scale");
        break;
    }
    for (const Method & method : others()) {
        if (has_all(layer, method.required)) use(method);
    }
    if (used.empty()) return;
    used.insert({"alpha", "reshape"});  // a scale, which methods without a rank do not have, and a condition
    for (auto each = layer.tensors.begin(); each != layer.tensors.end();) {
        if (used.count(each->first) > 0) {
            ++each;
            continue;
        }
        layer.unused.push_back(each->second->name);
        each = layer.tensors.erase(each);
    }
}

}  // namespace latent::formats
