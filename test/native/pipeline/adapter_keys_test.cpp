#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "pipeline/loaded.h"

// Every tensor of an adapter file is applied or reported.

using namespace loaded;

namespace {

using Shape = std::vector<int64_t>;
using Shapes = std::map<std::string, Shape>;  // by the tensor's key, or its end

/// Matrices of 32 by 32 in sd1, and two layers that it does not have.
constexpr const char * square_layers[] = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
                                          "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v",
                                          "lora_unet_down_blocks_0_attentions_0_proj_in",
                                          "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
                                          "lora_unet_down_blocks_7_attentions_0_proj_in",
                                          "somewhere.else"};

/// What each method stores for such a layer.
const std::vector<Shapes> & methods_of_a_square() {
    static const Shape wide = {4, 32}, tall = {32, 4}, whole = {32, 32}, line = {32}, number = {};
    static const std::vector<Shapes> methods = {
        {{"lora_down.weight", wide}, {"lora_up.weight", tall}, {"alpha", number}},
        {{"lora_A.weight", wide}, {"lora_B.weight", tall}, {"lora_B.bias", line}, {"lora_magnitude_vector.weight", line}},
        {{"lora_down.weight", wide}, {"lora_up.weight", tall}, {"dora_scale", {32, 1}}},
        {{"hada_w1_a", tall}, {"hada_w1_b", wide}, {"hada_w2_a", tall}, {"hada_w2_b", wide}, {"alpha", number}},
        {{"lokr_w1", {4, 4}}, {"lokr_w2_a", {8, 2}}, {"lokr_w2_b", {2, 8}}, {"alpha", number}},
        {{"lokr_w1_a", {4, 2}}, {"lokr_w1_b", {2, 4}}, {"lokr_w2", {8, 8}}},
        {{"a1.weight", tall}, {"a2.weight", wide}, {"b1.weight", tall}, {"b2.weight", wide}},
        {{"weight", line}, {"on_input", number}},
        {{"oft_blocks", {8, 4, 4}}, {"rescale", {32, 1}}},
        {{"diff", whole}, {"diff_b", line}},
        {{"set_weight", whole}},
        {{"w_norm", whole}, {"b_norm", line}},
        {{"lora_mid.weight", {4, 4, 1, 1}}},
        {{"hada_t1", {4, 4, 1, 1}}, {"hada_t2", {4, 4, 1, 1}}},
        {{"lokr_t2", {2, 2, 1, 1}}},
        {{"oft_R.weight", {16, 1}}},
        {{"no_known_method", line}},
        {{"lora_down.bias", line}}};
    return methods;
}

/// A file of a few layers, each with tensors of one to three methods, of which some are missing.
Shapes random_keys(std::mt19937 & random) {
    const auto below = [&](size_t count) { return static_cast<size_t>(random() % count); };
    Shapes keys;
    for (const char * layer : square_layers) {
        if (below(2) == 0) continue;
        const size_t methods = 1 + (below(2) == 0 ? below(3) : 0);
        const size_t missing = below(3) == 0 ? 6 : 1000;  // one in so many
        for (size_t i = 0; i < methods; ++i) {
            for (const auto & [end, shape] : methods_of_a_square()[below(methods_of_a_square().size())]) {
                if (below(missing) != 0) keys.emplace(std::string(layer) + '.' + end, shape);
            }
        }
    }
    if (below(8) == 0) keys.emplace("bundle_emb.word.string_to_param.*", Shape{1, 32});
    if (below(8) == 0) keys.emplace("epoch", Shape{});
    return keys;
}

/// Writes small numbers, and in the tensor `poisoned` one that is not a number.
void write_keys(const std::string & path, const Shapes & keys, const std::string & poisoned = "") {
    std::vector<golden::FileTensor> tensors;
    for (const auto & [name, shape] : keys) {
        tensors.push_back(golden::formula_tensor(name, shape, 7, 0.1));
        if (name != poisoned) continue;
        const float bad = std::numeric_limits<float>::quiet_NaN();
        std::memcpy(tensors.back().data.data(), &bad, sizeof(bad));
    }
    golden::write_safetensors(path, tensors);
}

/// Whether a report leaves out a tensor: by its own key, or with its whole layer.
bool is_left_out(const Json & report, const std::string & key) {
    for (const char * list : {"unmatched", "skipped"}) {
        for (const Json & each : report[list]) {
            const std::string text = each.get<std::string>(), name = text.substr(0, text.find(" ("));
            if (key == name || key.rfind(name + '.', 0) == 0) return true;
        }
    }
    return false;
}

}  // namespace

TEST(adapters_report_every_tensor) {
    // A tensor is read, or it is in the report: numbers that are not finite show which.
    const Loaded model("sd1");
    const golden::TempFolder folder;
    const std::string path = folder / "keys.safetensors";
    std::mt19937 random(7);
    size_t files = 0, refused = 0, read = 0, left_out = 0;
    const auto set = [&] { return model->set_adapters({{path, 1, 1}}, {}); };
    while (files < 60) {
        const Shapes keys = random_keys(random);
        if (keys.empty()) continue;
        write_keys(path, keys);
        Json report;
        try {
            report = set().at(0);
        } catch (const Error & error) {
            const ErrorCode code = error.code();
            CHECK(code == ErrorCode::model_format || code == ErrorCode::unsupported_model);
            ++refused;
            continue;
        }
        ++files;
        for (const auto & [key, shape] : keys) {
            const bool is_alpha = key.size() > 6 && key.compare(key.size() - 6, 6, ".alpha") == 0;
            if (is_alpha) continue;  // a scale of methods that have a rank, and nothing to others
            write_keys(path, keys, key);
            const bool out = is_left_out(report, key);
            std::string message;
            try {
                set();
            } catch (const Error & error) {
                message = error.what();
            }
            const bool was_read = message.find(key) != std::string::npos && message.find("not finite") != std::string::npos;
            if (was_read == out || (out && !message.empty()))
                check::fail(__FILE__, __LINE__,
                            key + (out ? " is read, but reported: " : " is neither read nor reported: ") + report.dump());
            ++(out ? left_out : read);
        }
    }
    std::printf("     %zu files, %zu refused; %zu tensors read, %zu left out\n", files, refused, read, left_out);
    CHECK(refused > 5 && read > 100 && left_out > 100);
}

TEST(adapters_incomplete_groups) {
    const Loaded model("sd1");
    const golden::TempFolder folder;
    const std::string path = folder / "keys.safetensors", layer = std::string(square_layers[0]) + '.';
    const auto report = [&](const Shapes & keys) {
        write_keys(path, keys);
        return model->set_adapters({{path, 1, 1}}, {}).at(0);
    };
    const Shapes pair = {{layer + "lora_down.weight", {4, 32}}, {layer + "lora_up.weight", {32, 4}}};
    const Json whole = report(pair);
    CHECK(whole["unmatched"].empty() && whole["skipped"].empty() && whole["matched"].size() == 1);
    for (const char * alone : {"hada_w1_a", "lokr_w1_a", "a1.weight", "weight", "on_input", "rescale", "hada_t1", "lokr_t2"}) {
        Shapes keys = pair;
        keys[layer + alone] = {32, 4};
        const Json beside = report(keys);
        CHECK(beside["matched"] == whole["matched"] && beside["unmatched"].empty());
        CHECK(beside["skipped"] == Json::array({layer + alone + " (in none of the methods of its layer)"}));
    }
    // The same the other way round, and two methods that are both complete: the low-rank pair counts.
    const Shapes kronecker = {{layer + "lokr_w1", {4, 4}}, {layer + "lokr_w2", {8, 8}}};
    Shapes keys = kronecker;
    keys[layer + "lora_up.weight"] = {32, 4};
    CHECK(report(keys)["skipped"].size() == 1 && report(keys)["matched"] == whole["matched"]);
    keys = pair;
    keys.insert(kronecker.begin(), kronecker.end());
    CHECK(report(keys)["skipped"].size() == 2 && report(keys)["matched"] == whole["matched"]);
}
