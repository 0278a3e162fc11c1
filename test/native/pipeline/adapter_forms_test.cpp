#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#include "pipeline/loaded.h"
#include "temp_folder.h"

// PEFT's OFT, reshape_weight, and OpenCLIP's names of text encoders.

using namespace loaded;

namespace {

golden::FileTensor tensor_of(const std::string & name, std::vector<int64_t> shape, const std::vector<float> & values) {
    golden::FileTensor tensor{name, DType::f32, std::move(shape), std::vector<uint8_t>(values.size() * sizeof(float))};
    std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
    return tensor;
}

/// Formula values of `count` rows, as write_safetensors() takes them.
golden::FileTensor random_tensor(const std::string & name, std::vector<int64_t> shape, double scale = 1) {
    return golden::formula_tensor(name, std::move(shape), 7, scale);
}

std::vector<float> values_of(const golden::FileTensor & tensor) {
    std::vector<float> values(tensor.data.size() / sizeof(float));
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    return values;
}

std::string written(const golden::TempFolder & folder, const std::string & name,
                    const std::vector<golden::FileTensor> & tensors) {
    golden::write_safetensors(folder / name, tensors);
    return folder / name;
}

/// sd1's network for one set of inputs.
class Predicted {
public:
    Predicted() : model_("sd1"), x_(model_.latents("x", 0)) {
        context_.tokens = 77, context_.dim = 32;
        context_.data.resize(77 * 32);
        for (size_t i = 0; i < context_.data.size(); ++i) context_.data[i] = std::sin(static_cast<float>(i) * 0.7f);
    }
    std::vector<float> with(const AdapterUses & uses) {
        report = model_->set_adapters(uses, {});
        return model_->predict(x_, {621}, &context_, nullptr, 1.0, nullptr, {}).data;
    }
    uint64_t bytes() const { return model_->memory_usage()["parts"]["unet"].get<uint64_t>(); }
    std::vector<float> weight(const std::string & key) const { return golden::weight(model_.golden(), "compvis", key).data; }
    Json report;

private:
    Loaded model_;
    Latents x_;
    Conditioning context_;
};

/// A PEFT folder.
void write_peft(const TempFolder & folder, const std::vector<golden::FileTensor> & tensors, const Json & config) {
    golden::write_safetensors(folder.file("adapter_model.safetensors"), tensors);
    folder.write("adapter_config.json", config.dump());
}

/// w times a rotation of each pair of columns: (a, b) -> (c a + s b, c b - s a). For one number q that is a half turn's tangent,
/// c = (1 - q^2) / (1 + q^2) and s = 2 q / (1 + q^2).
std::vector<float> turned(std::vector<float> w, size_t inner, const std::vector<double> & c, const std::vector<double> & s) {
    for (size_t at = 0; at < w.size(); at += 2) {
        const size_t pair = at % inner / 2 % c.size();
        const double a = w[at], b = w[at + 1];
        w[at] = static_cast<float>(c[pair] * a + s[pair] * b);
        w[at + 1] = static_cast<float>(c[pair] * b - s[pair] * a);
    }
    return w;
}

constexpr const char * linear_key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight";  // [32, 32]
constexpr const char * conv_key = "model.diffusion_model.input_blocks.1.1.proj_in.weight";  // [32, 32, 1, 1]
constexpr const char * linear_layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
constexpr const char * conv_layer = "down_blocks.0.attentions.0.proj_in";

}  // namespace

TEST(adapters_peft_oft) {
    Predicted sd1;
    const golden::TempFolder folder;
    const TempFolder peft;
    const std::vector<float> bare = sd1.with({});
    const std::string prefix = "base_model.model.";
    const golden::FileTensor linear = random_tensor(prefix + linear_layer + ".oft_R.weight", {16, 1}, 0.4);
    const golden::FileTensor shared = random_tensor(prefix + conv_layer + ".oft_R.weight", {1, 1}, 0.4);

    const auto expected = [&](const std::function<std::pair<double, double>(double q)> & turn) {
        std::vector<golden::FileTensor> tensors;
        for (const auto & [key, layer, stored] :
             {std::tuple{linear_key, linear_layer, linear}, std::tuple{conv_key, conv_layer, shared}}) {
            std::vector<double> c, s;
            for (const float q : values_of(stored)) {
                const auto [cosine, sine] = turn(q);
                c.push_back(cosine), s.push_back(sine);
            }
            std::string name = "lora_unet_" + std::string(layer) + ".set_weight";
            std::replace(name.begin() + 10, name.end() - 11, '.', '_');
            tensors.push_back(tensor_of(name, {32, 32}, turned(sd1.weight(key), 32, c, s)));
        }
        return sd1.with({{written(folder, "expected.safetensors", tensors), 1, 1}});
    };
    const auto actual = [&](const Json & config, double strength = 1) {
        write_peft(peft, {linear, shared}, config);
        return sd1.with({{peft.path(), strength, strength}});
    };

    // PEFT's exact form is the Cayley transform of -Q; its series is that of Q, cut off.
    const Json exact = {{"peft_type", "OFT"}, {"use_cayley_neumann", false}};
    const auto by_exact = expected([](double q) { return std::pair{(1 - q * q) / (1 + q * q), -2 * q / (1 + q * q)}; });
    CHECK(difference(by_exact, bare) > 1e-2);
    within("PEFT's OFT, exact", difference(actual(exact), by_exact), 2e-5);
    CHECK(sd1.report[0]["skipped"].empty() && sd1.report[0]["unmatched"].empty() && sd1.report[0]["matched"].size() == 2);

    const Json series = {{"peft_type", "OFT"}, {"use_cayley_neumann", true}, {"num_cayley_neumann_terms", 5}};
    const auto by_series = expected([](double q) { return std::pair{1 - 2 * q * q + q * q * q * q, 2 * q - 2 * q * q * q}; });
    CHECK(difference(by_exact, by_series) > 1e-2);
    within("PEFT's OFT, series of 5", difference(actual(series), by_series), 2e-5);
    const Json three = {{"use_cayley_neumann", true}, {"num_cayley_neumann_terms", 3}};
    within("PEFT's OFT, series of 3", difference(actual(three), expected([](double q) {
                                                     return std::pair{1 - 2 * q * q, 2 * q - q * q * q};
                                                 })),
           2e-5);

    // Strength interpolates the rotation; the constraint bounds each block's norm by eps / sqrt(blocks).
    within("PEFT's OFT at 0.5", difference(actual(exact, 0.5), expected([](double q) {
                                               return std::pair{(1 - q * q) / (1 + q * q) / 2 + 0.5, -q / (1 + q * q)};
                                           })),
           2e-5);
    CHECK(actual(exact, 0) == bare);
    const Json tight = {{"use_cayley_neumann", false}, {"coft", true}, {"eps", 1e-9}};
    within("PEFT's constrained OFT", difference(actual(tight), bare), 1e-5);
}

// A Kronecker product beside the weight is the product in it, with an activation after it and another adapter beside it.
TEST(adapters_lokr_beside_the_weight) {
    Predicted sd1;
    const golden::TempFolder folder;
    const std::string block = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.",
                      unet = "lora_unet_down_blocks_0_attentions_0_";
    struct Layer {
        std::string key, name;
        std::vector<int64_t> shape;
    };
    const Layer layers[] = {{linear_key, "transformer_blocks_0_attn1_to_q", {32, 32}},
                            {block + "ff.net.0.proj.weight", "transformer_blocks_0_ff_net_0_proj", {256, 32}},
                            {conv_key, "proj_in", {32, 32, 1, 1}}};
    std::vector<golden::FileTensor> factors, whole;
    int64_t added = 0;
    for (const Layer & layer : layers) {
        const int64_t rows = layer.shape[0], c = rows / 4, d = 8, rank = 2;
        const std::string name = unet + layer.name;
        const bool low = layer.name == "proj_in";
        const golden::FileTensor first = random_tensor(name + ".lokr_w1", {4, 4}, 0.3);
        const golden::FileTensor second = random_tensor(name + (low ? ".lokr_w2_a" : ".lokr_w2"), {c, low ? rank : d}, 0.3);
        const golden::FileTensor third = random_tensor(name + ".lokr_w2_b", {rank, d}, 0.3);
        factors.insert(factors.end(), {first, second});
        if (low) factors.insert(factors.end(), {third, tensor_of(name + ".alpha", {}, {2})});
        added += 4 * (16 + (low ? rank * (c + d) : c * d));
        std::vector<float> w = sd1.weight(layer.key);
        const std::vector<float> a = values_of(first), b = values_of(second), e = values_of(third);
        for (int64_t row = 0; row < rows; ++row) {
            for (int64_t column = 0; column < 32; ++column) {
                double number = 0;
                if (low) {
                    for (int64_t r = 0; r < rank; ++r)
                        number += static_cast<double>(b[static_cast<size_t>(row % c * rank + r)]) *
                                  e[static_cast<size_t>(r * d + column % d)];
                } else {
                    number = b[static_cast<size_t>(row % c * d + column % d)];
                }
                w[static_cast<size_t>(row * 32 + column)] +=
                    static_cast<float>(0.7 * number * static_cast<double>(a[static_cast<size_t>(row / c * 4 + column / d)]));
            }
        }
        whole.push_back(tensor_of(name + ".set_weight", layer.shape, w));
    }
    const AdapterUse product{written(folder, "lokr.safetensors", factors), 0.7, 0.7};
    const std::vector<float> bare = sd1.with({});
    const uint64_t before = sd1.bytes();
    const std::vector<float> beside = sd1.with({product});
    CHECK(sd1.bytes() - before == static_cast<uint64_t>(added));
    CHECK(difference(beside, bare) > 0.01);
    const AdapterUse set{written(folder, "set.safetensors", whole), 1, 1};
    within("LoKr beside the weight", difference(beside, sd1.with({set})), 2e-5);
    const std::vector<golden::FileTensor> lora = {
        random_tensor(unet + "transformer_blocks_0_attn1_to_q.lora_down.weight", {3, 32}, 0.3),
        random_tensor(unet + "transformer_blocks_0_attn1_to_q.lora_up.weight", {32, 3}, 0.3)};
    const AdapterUse other{written(folder, "lora.safetensors", lora), 1, 1};
    within("LoKr and LoRA", difference(sd1.with({product, other}), sd1.with({set, other})), 2e-5);
}

// A scale of rows after a low-rank sum, with another sum after it, and in the opposite order.
TEST(adapters_gains_between_sums) {
    Predicted sd1;
    const golden::TempFolder folder;
    const std::string name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    const golden::FileTensor down = random_tensor(name + ".lora_down.weight", {3, 32}, 0.3),
                             up = random_tensor(name + ".lora_up.weight", {32, 3}, 0.3);
    const golden::FileTensor gain = random_tensor(name + ".weight", {32}, 0.4);
    const AdapterUse sum{written(folder, "lora.safetensors", {down, up}), 1, 1};
    const AdapterUse scale{written(folder, "ia3.safetensors", {gain, tensor_of(name + ".on_input", {}, {0})}), 1, 1};
    const std::vector<float> own = sd1.weight(linear_key), a = values_of(down), b = values_of(up), g = values_of(gain);
    const auto expected = [&](int before) {
        std::vector<float> w(own);
        for (size_t row = 0; row < 32; ++row) {
            for (size_t i = 0; i < 32; ++i) {
                double number = 0;
                for (size_t r = 0; r < 3; ++r) number += static_cast<double>(b[row * 3 + r]) * a[r * 32 + i];
                w[row * 32 + i] =
                    static_cast<float>((own[row * 32 + i] + before * number) * (1 + g[row]) + (2 - before) * number);
            }
        }
        return sd1.with({{written(folder, "set.safetensors", {tensor_of(name + ".set_weight", {32, 32}, w)}), 1, 1}});
    };
    within("sum, gain, sum", difference(sd1.with({sum, scale, sum}), expected(1)), 2e-5);
    within("gain, sum, sum", difference(sd1.with({scale, sum, sum}), expected(0)), 2e-5);
    within("sum, sum, gain", difference(sd1.with({sum, sum, scale}), expected(2)), 2e-5);
}

// A layer without a bias whose adapters scale, rotate or replace its weight and add a bias.
TEST(adapters_change_a_weight_and_add_a_bias) {
    Predicted sd1;
    const golden::TempFolder folder;
    const std::string name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v";
    const std::string key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_v.weight";
    const golden::FileTensor gain = random_tensor(name + ".weight", {32}, 0.4), bias = random_tensor(name + ".diff_b", {32}, 0.5);
    const std::vector<float> g = values_of(gain);
    std::vector<float> scaled = sd1.weight(key), difference_of = scaled;
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= 1 + g[i / 32], difference_of[i] = scaled[i] - difference_of[i];
    const auto use = [&](const std::string & file, const std::vector<golden::FileTensor> & tensors) {
        return AdapterUse{written(folder, file, tensors), 1, 1};
    };
    const AdapterUse add = use("bias.safetensors", {bias});
    const AdapterUse whole = use("set.safetensors", {tensor_of(name + ".set_weight", {32, 32}, scaled)});
    const AdapterUse gains = use("ia3.safetensors", {gain, tensor_of(name + ".on_input", {}, {0})});
    const AdapterUse diff = use("diff.safetensors", {tensor_of(name + ".diff", {32, 32}, difference_of)});
    const std::vector<float> expected = sd1.with({whole, add});
    CHECK(difference(expected, sd1.with({add})) > 0.01 && difference(expected, sd1.with({whole})) > 0.01);
    within("a gain and a bias", difference(sd1.with({gains, add}), expected), 2e-5);
    within("a bias and a gain", difference(sd1.with({add, gains}), expected), 2e-5);
    within("a difference and a bias", difference(sd1.with({diff, add}), expected), 2e-5);
}

// A Kronecker product and a factor of the inputs in one layer of one file: the factor reaches both.
TEST(adapters_lokr_with_input_gains) {
    Predicted sd1;
    const golden::TempFolder folder;
    const std::string name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    const golden::FileTensor first = random_tensor(name + ".lokr_w1", {4, 4}, 0.5),
                             second = random_tensor(name + ".lokr_w2", {8, 8}, 0.5);
    const golden::FileTensor gain = random_tensor(name + ".weight", {32}, 0.4);
    const std::vector<float> a = values_of(first), b = values_of(second), g = values_of(gain);
    std::vector<float> w = sd1.weight(linear_key);
    for (size_t row = 0; row < 32; ++row)
        for (size_t i = 0; i < 32; ++i)
            w[row * 32 + i] = (w[row * 32 + i] + a[row / 8 * 4 + i / 8] * b[row % 8 * 8 + i % 8]) * (1 + g[i]);
    const AdapterUse both{written(folder, "both.safetensors", {first, second, gain, tensor_of(name + ".on_input", {}, {1})}), 1,
                          1};
    const AdapterUse set{written(folder, "set.safetensors", {tensor_of(name + ".set_weight", {32, 32}, w)}), 1, 1};
    within("LoKr with input gains", difference(sd1.with({both}), sd1.with({set})), 2e-5);
}

TEST(adapters_boft_without_stages_is_refused) {
    Predicted sd1;
    const golden::TempFolder folder;
    const std::string name = "oft_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.oft_blocks";
    for (const std::vector<int64_t> & shape : {std::vector<int64_t>{0, 8, 4, 4}, {0, 4, 4}, {8, 0, 0}, {2, 0, 4, 4}}) {
        bool refused = false;
        try {
            sd1.with({{written(folder, "empty.safetensors", {tensor_of(name, shape, {})}), 1, 1}});
        } catch (const Error & error) {
            refused = error.code() == ErrorCode::model_format;
        }
        CHECK(refused);
    }
}

TEST(adapters_peft_oft_blocks) {
    // Two pairs in a block of four: the numbers are those above the diagonal, row by row.
    Predicted sd1;
    const TempFolder peft;
    const Json config = {{"use_cayley_neumann", false}};
    const std::string name = std::string("base_model.model.") + linear_layer + ".oft_R.default.weight";
    const golden::FileTensor pairs = random_tensor(name, {16, 1}, 0.4);
    write_peft(peft, {pairs}, config);
    const std::vector<float> expected = sd1.with({{peft.path(), 1, 1}}), q = values_of(pairs);
    std::vector<float> fours;
    for (size_t block = 0; block < 8; ++block) fours.insert(fours.end(), {q[2 * block], 0, 0, 0, 0, q[2 * block + 1]});
    write_peft(peft, {tensor_of(name, {8, 6}, fours)}, config);
    within("blocks of four", difference(sd1.with({{peft.path(), 1, 1}}), expected), 1e-5);
}

TEST(adapters_peft_oft_refused) {
    Predicted sd1;
    const golden::TempFolder folder;
    const TempFolder peft;
    const auto refused = [&](ErrorCode code, const std::string & part, const AdapterUses & uses) {
        try {
            sd1.with(uses);
        } catch (const Error & error) {
            if (error.code() == code && std::string(error.what()).find(part) != std::string::npos) return true;
            std::printf("     %s: %s\n", code_name(error.code()), error.what());
        }
        return false;
    };
    const std::string prefix = "base_model.model.";
    const auto rotation = [&](std::vector<int64_t> shape) {
        return random_tensor(prefix + linear_layer + ".oft_R.weight", shape);
    };
    // Without its configuration a file does not tell which way it rotates.
    CHECK(refused(ErrorCode::unsupported_model, "adapter_config.json",
                  {{written(folder, "alone.safetensors", {rotation({16, 1})}), 1, 1}}));
    const Json config = {{"use_cayley_neumann", true}};
    for (const auto & shape : {std::vector<int64_t>{15, 1}, {16, 2}, {16, 0}, {16}, {3, 6}}) {
        write_peft(peft, {rotation(shape)}, config);
        CHECK(refused(ErrorCode::model_format, "oft_R", {{peft.path(), 1, 1}}));
    }
    for (const Json & terms : {Json(0), Json(1000000)}) {
        write_peft(peft, {rotation({16, 1})}, {{"use_cayley_neumann", true}, {"num_cayley_neumann_terms", terms}});
        CHECK(refused(ErrorCode::model_format, "out of range", {{peft.path(), 1, 1}}));
    }
    // Merged and trained forms differ for larger convolutions.
    const golden::FileTensor conv = random_tensor(prefix + "down_blocks.0.resnets.0.conv1.oft_R.weight", {144, 1});
    write_peft(peft, {conv, rotation({16, 1})}, config);
    sd1.with({{peft.path(), 1, 1}});
    CHECK(sd1.report[0]["matched"].size() == 1 && sd1.report[0]["skipped"].size() == 1);
    CHECK(sd1.report[0]["skipped"][0].get<std::string>().find("larger than 1x1") != std::string::npos);
    // Rotations and low-rank changes of the table of tokens: left out by name, the rest applies.
    const std::string table = prefix + "text_model.embeddings.token_embedding";
    write_peft(peft,
               {rotation({16, 1}), random_tensor(table + ".oft_embedding_R.weight", {8, 6}),
                random_tensor(table + ".lora_embedding_A", {4, 49}), random_tensor(table + ".lora_embedding_B", {32, 4})},
               config);
    sd1.with({{peft.path(), 1, 1}});
    CHECK(sd1.report[0]["matched"].size() == 1 && sd1.report[0]["unmatched"].empty() && sd1.report[0]["skipped"].size() == 3);
    for (const Json & each : sd1.report[0]["skipped"])
        CHECK(each.get<std::string>().find("embedding table") != std::string::npos);
    write_peft(peft, {random_tensor(table + ".oft_embedding_R.weight", {8, 6})}, config);
    CHECK(refused(ErrorCode::unsupported_model, "oft_embedding_R", {{peft.path(), 1, 1}}));
}

TEST(adapters_reshape_weight) {
    // Its golden case pads conv_in of sd1 to nine inputs; here the model is padded, and has the shape that the file asks for.
    const golden::Case adapter = golden::load("addon-lora-set"), sd1 = golden::load("sd1");
    const golden::TempFolder folder, model;
    const std::string path = golden::write_layout(adapter, "kohya", folder.path());
    const std::string key = "model.diffusion_model.input_blocks.0.0.weight";
    const std::vector<float> narrow = golden::weight(sd1, "compvis", key).data;
    Json padded = Json::array();
    for (size_t i = 0; i < 32 * 9 * 9; ++i) {
        const size_t out = i / 81, in = i % 81 / 9;
        padded.push_back(in < 4 ? narrow[(out * 4 + in) * 9 + i % 9] : 0.0f);
    }
    Json wide = sd1.json;
    for (Json & entry : wide["layouts"]["compvis"].begin().value()["tensors"]) {
        if (entry[0] == key) entry = {key, {32, 9, 3, 3}, "F32", "lit", {{"value", padded}}};
    }
    LoadRequest request = exact_request();
    request.model = golden::write_layout({"sd1-nine", wide}, "compvis", model.path());
    request.config = golden::load("sd1-inpaint").config();
    const auto nine = Pipeline::load(request, {});
    const Json report = nine->set_adapters({{path, 0.8, 0.8}}, {});
    CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
    CHECK(report[0]["matched"].size() == adapter.config()["layers"].size());

    const golden::Values x = golden::input(adapter, "x"), context = golden::input(adapter, "context");
    const std::ptrdiff_t four = 4 * 8 * 16;
    Conditioning conditioning;
    conditioning.tokens = context.shape[1], conditioning.dim = context.shape[2], conditioning.data = context.data;
    conditioning.concat = Latents{{1, 5, 8, 16}, {x.data.begin() + four, x.data.end()}};
    const Latents latents{{1, 4, 8, 16}, {x.data.begin(), x.data.begin() + four}};
    const golden::Values eps = golden::expected(adapter, "eps");
    within("addon-lora-set eps",
           difference(nine->predict(latents, {621}, &conditioning, nullptr, 1.0, nullptr, {}).data, eps.data), eps.atol);

    // Another shape would be another network: that layer is left out, and named.
    const Loaded four_channels("sd1");
    const Json partly = four_channels->set_adapters({{path, 0.8, 0.8}}, {});
    CHECK(partly[0]["matched"].size() == adapter.config()["layers"].size() - 1 && partly[0]["skipped"].size() == 1);
    CHECK(partly[0]["skipped"][0] == "lora_unet_conv_in (reshape_weight to [32, 9, 3, 3]; the model's weight is [32, 4, 3, 3])");
}

TEST(adapters_named_as_in_open_clip) {
    struct Names {
        const char *model, *file, *hugging_face, *open_clip;
        int64_t width;
    };
    const std::string attention = "encoder_layers_1_self_attn_", block = "transformer_resblocks_1_";
    for (const Names & names : {Names{"sd2-v", "ids", "lora_te_text_model_", "lora_te_model_", 32},
                                {"sd2-v", "ids", "lora_te_text_model_", "", 32},
                                {"sd2-v", "ids", "lora_te_text_model_", "cond_stage_model.model.", 32},
                                {"sdxl-base", "ids_l", "lora_te2_text_model_", "lora_te2_", 40},
                                {"sdxl-base", "ids_l", "lora_te2_text_model_", "", 40},
                                {"sdxl-base", "ids_l", "lora_te2_text_model_", "conditioner.embedders.1.model.", 40}}) {
        const Loaded model(names.model);
        const golden::TempFolder folder;
        const int64_t d = names.width;
        std::vector<int32_t> ids(77, 49407);
        ids[0] = 49406, ids[1] = 320, ids[2] = 1000;
        Inputs inputs;
        inputs.prompt = PromptTokens{};
        inputs.prompt->chunks.push_back({ids, {}});
        const auto context = [&](const std::vector<golden::FileTensor> & tensors) {
            const Json report = model->set_adapters({{written(folder, "adapter.safetensors", tensors), 0.7, 0.7}}, {});
            CHECK(report[0]["unmatched"].empty() && report[0]["skipped"].empty());
            return model->encode_inputs(inputs, {}).data;
        };
        const std::vector<float> bare = model->encode_inputs(inputs, {}).data;
        const golden::FileTensor down = random_tensor("down", {4, d}), up = random_tensor("up", {3 * d, 4}, 0.5),
                                 fc = random_tensor("fc", {4 * d, d}, 0.3), bias = random_tensor("bias", {3 * d}, 0.5);
        const auto part = [&](const golden::FileTensor & whole, int third, const std::string & name) {
            const std::vector<float> all = values_of(whole);
            const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(all.size() / 3);
            std::vector<int64_t> shape = whole.shape;
            shape[0] /= 3;
            return tensor_of(name, shape, {all.begin() + third * size, all.begin() + (third + 1) * size});
        };
        const auto renamed = [](golden::FileTensor tensor, const std::string & name) {
            tensor.name = name;
            return tensor;
        };
        std::vector<golden::FileTensor> apart;
        int third = 0;
        for (const char * name : {"q_proj", "k_proj", "v_proj"}) {
            const std::string layer = names.hugging_face + attention + name;
            apart.push_back(renamed(down, layer + ".lora_down.weight"));
            apart.push_back(part(up, third, layer + ".lora_up.weight"));
            apart.push_back(part(bias, third++, layer + ".diff_b"));
        }
        apart.push_back(renamed(fc, names.hugging_face + std::string("encoder_layers_1_mlp_fc1.diff")));
        std::string first = names.open_clip + block;
        if (first.find('.') != std::string::npos || names.open_clip[0] == '\0') {
            first = names.open_clip + std::string("transformer.resblocks.1.");
        }
        const std::string fused = first + (first.back() == '.' ? "attn.in_proj" : "attn_in_proj");
        const std::vector<float> expected = context(apart);
        const std::vector<float> actual = context(
            {renamed(down, fused + ".lora_down.weight"), renamed(up, fused + ".lora_up.weight"), renamed(bias, fused + ".diff_b"),
             renamed(fc, first + (first.back() == '.' ? "mlp.c_fc.diff" : "mlp_c_fc.diff"))});
        CHECK(actual == expected);
        CHECK(difference(bare, expected) > 1e-2);
    }
    // Methods that need the whole weight do not act on a third of it.
    const Loaded model("sd2-v");
    const golden::TempFolder folder;
    const std::string fused = "lora_te_transformer_resblocks_0_attn_in_proj",
                      other = "lora_te_transformer_resblocks_0_attn_out_proj";
    const Json report = model->set_adapters(
        {{written(folder, "adapter.safetensors",
                  {random_tensor(fused + ".oft_blocks", {24, 4, 4}), random_tensor(other + ".oft_blocks", {8, 4, 4})}),
          1, 1}},
        {});
    CHECK(report[0]["matched"].size() == 1 && report[0]["skipped"].size() == 1);
}
