#include "formats/adapters/adapter_file.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/path.h"
#include "core/text.h"
#include "formats/adapters/methods.h"
#include "formats/open.h"

namespace latent::formats {
namespace {

constexpr uint64_t kMostConfigBytes = uint64_t{4} << 20;

struct Suffix {
    const char * text;
    const char * role;
};

// A longer suffix comes before the shorter ones that it ends with.
constexpr Suffix suffixes[] = {
    {".lora_down.weight", "down"},
    {".lora_up.weight", "up"},
    {".lora_mid.weight", "mid"},
    {".lora_up.bias", "up_bias"},
    {"_lora.down.weight", "down"},
    {"_lora.up.weight", "up"},
    {".lora.down.weight", "down"},
    {".lora.up.weight", "up"},
    {".lora_linear_layer.down.weight", "down"},
    {".lora_linear_layer.up.weight", "up"},
    {".lora_A.weight", "down"},
    {".lora_B.weight", "up"},
    {".lora_B.bias", "up_bias"},
    {".lora_A", "down"},
    {".lora_B", "up"},
    {".lora_magnitude_vector.weight", "magnitude"},
    {".lora_magnitude_vector", "magnitude"},
    {".dora_scale", "dora_scale"},
    {".reshape_weight", "reshape"},
    {".set_weight", "set"},
    {".diff_b", "diff_b"},
    {".diff", "diff"},
    {".w_norm", "w_norm"},
    {".b_norm", "b_norm"},
    {".alpha", "alpha"},
    {".hada_w1_a", "hada_w1_a"},
    {".hada_w1_b", "hada_w1_b"},
    {".hada_w2_a", "hada_w2_a"},
    {".hada_w2_b", "hada_w2_b"},
    {".hada_t1", "hada_t1"},
    {".hada_t2", "hada_t2"},
    {".lokr_w1_a", "lokr_w1_a"},
    {".lokr_w1_b", "lokr_w1_b"},
    {".lokr_w2_a", "lokr_w2_a"},
    {".lokr_w2_b", "lokr_w2_b"},
    {".lokr_w1", "lokr_w1"},
    {".lokr_w2", "lokr_w2"},
    {".lokr_t2", "lokr_t2"},
    {".a1.weight", "a1"},
    {".a2.weight", "a2"},
    {".b1.weight", "b1"},
    {".b2.weight", "b2"},
    {".oft_blocks", "oft_blocks"},
    {".rescale", "rescale"},
    {".oft_R.weight", "oft_r"},
    {".oft_R", "oft_r"},
    {".on_input", "on_input"},
    {".weight", "weight"},
};

bool ends_in(const std::string & text, const std::string & end) {
    return text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// PEFT puts the adapter's own name before the last component: ".lora_A.default.weight".
std::string without_adapter_name(const std::string & key) {
    for (const char * mark : {".lora_A.", ".lora_B.", ".lora_magnitude_vector.", ".oft_R."}) {
        const size_t at = key.find(mark);
        if (at == std::string::npos) continue;
        const size_t rest = at + std::string(mark).size(), dot = key.rfind('.');
        if (dot > rest) return key.substr(0, rest - 1) + key.substr(dot);
        const std::string last = key.substr(rest);
        if (last != "weight" && last != "bias") return key.substr(0, rest - 1);  // ".lora_magnitude_vector.default"
    }
    return key;
}

/// PEFT's adapters of an embedding table: they change the tokens' vectors, which are not a layer's weight.
bool is_of_embedding_table(const std::string & name) {
    for (const char * mark : {".oft_embedding_R", ".lora_embedding_A", ".lora_embedding_B"}) {
        if (name.find(mark) != std::string::npos) return true;
    }
    return false;
}

std::string weights_of(const std::string & path) {
    if (path_kind(path) != PathKind::folder) return path;
    for (const char * name :
         {"adapter_model.safetensors", "adapter_model.bin", "pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin"}) {
        const std::string file = join_path(path, name);
        if (path_kind(file) == PathKind::file) return file;
    }
    throw Error(ErrorCode::model_format,
                "The folder \"" + path + "\" has no adapter in it: no adapter_model or pytorch_lora_weights file",
                R"({"reason":"no_weights"})");
}

/// Looks up a layer in PEFT's rank_pattern or alpha_pattern; keys are layer names or suffixes of them.
double pattern_value(const Json & config, const char * key, const std::string & layer, double otherwise) {
    const auto found = config.find(key);
    if (found == config.end() || !found->is_object()) return otherwise;
    for (const auto & [name, value] : found->items()) {
        if (value.is_number() && (layer == name || ends_in(layer, '.' + name))) return value.get<double>();
    }
    return otherwise;
}

}  // namespace

const TensorInfo * AdapterLayer::find(const char * role) const {
    const auto found = tensors.find(role);
    return found == tensors.end() ? nullptr : found->second;
}

AdapterFilePtr AdapterFile::open(const std::string & path_utf8) {
    const std::string path = weights_of(path_utf8);
    const auto file = std::make_shared<AdapterFile>();
    file->source_ = open_model_file(path);
    file->name_ = file_name(path);
    file->group();
    const std::string config = join_path(parent_folder(path), "adapter_config.json");
    if (file->name_.rfind("adapter_model", 0) == 0 && path_kind(config) == PathKind::file) {
        file->configure(parse_json(read_text_file(config, kMostConfigBytes), config));
    }
    return file;
}

void AdapterFile::group() {
    std::unordered_map<std::string, size_t> index;
    std::vector<AdapterLayer> all;
    for (const TensorInfo & tensor : source_->tensors()) {
        if (tensor.name.rfind("bundle_emb.", 0) == 0) {
            embeddings_.push_back(tensor.name);
            continue;
        }
        if (is_of_embedding_table(tensor.name)) {
            embeddings_.push_back(tensor.name + " (an adapter of an embedding table)");
            continue;
        }
        const std::string key = without_adapter_name(tensor.name);
        const auto suffix =
            std::find_if(std::begin(suffixes), std::end(suffixes), [&](const Suffix & each) { return ends_in(key, each.text); });
        if (suffix == std::end(suffixes)) {
            unknown_.push_back(tensor.name);
            continue;
        }
        const std::string layer = key.substr(0, key.size() - std::string(suffix->text).size());
        const auto at = index.emplace(layer, all.size());
        if (at.second) all.push_back({layer, {}});
        if (!all[at.first->second].tensors.emplace(suffix->role, &tensor).second) {
            throw Error(ErrorCode::model_format,
                        name_ + ": layer \"" + layer.substr(0, 200) + "\" has \"" + suffix->role + "\" twice");
        }
    }
    for (AdapterLayer & layer : all) {
        set_aside_unused(layer);
        // A plain weight belongs to (IA)^3 if its flag is in the file too; otherwise it is not part of an adapter.
        const bool plain = layer.has("weight") && !layer.has("on_input");
        const bool only_alpha = layer.tensors.size() == 1 && layer.has("alpha");
        if (plain || only_alpha) {
            for (const auto & [role, tensor] : layer.tensors) unknown_.push_back(tensor->name);
        } else {
            layers_.push_back(std::move(layer));
        }
    }
    if (!layers_.empty()) return;
    std::vector<std::string> names = unknown_;
    names.insert(names.end(), embeddings_.begin(), embeddings_.end());
    throw Error(ErrorCode::unsupported_model,
                name_ + " is not an adapter: it has no tensors of a LoRA or a similar method" +
                    (names.empty() ? "" : "; its tensors are named " + first_of(names, 3)),
                Json{{"found", names.empty() ? "" : names.front().substr(0, 200)}, {"nearest", "LoRA"}}.dump(
                    -1, ' ', false, Json::error_handler_t::replace));
}

/// What PEFT's configuration adds: the scaling of LoRA, alpha / rank or alpha / sqrt(rank), and the form of OFT's rotations.
void AdapterFile::configure(const Json & config) {
    if (!config.is_object()) return;
    if (config.contains("use_cayley_neumann")) {
        PeftRotation rotation;
        rotation.series = json_value(config, "use_cayley_neumann", rotation.series);
        rotation.terms = json_value(config, "num_cayley_neumann_terms", rotation.terms);
        rotation.constrained = json_value(config, "coft", rotation.constrained);
        rotation.epsilon = json_value(config, "eps", rotation.epsilon);
        for (AdapterLayer & layer : layers_) layer.rotation = rotation;
    }
    const double alpha = json_value(config, "lora_alpha", 0.0);
    const bool rank_stabilised = json_value(config, "use_rslora", false);
    for (AdapterLayer & layer : layers_) {
        const TensorInfo * down = layer.find("down");
        if (!down || down->shape.empty() || layer.has("alpha")) continue;
        const std::string prefix = "base_model.model.";
        const std::string name = layer.name.rfind(prefix, 0) == 0 ? layer.name.substr(prefix.size()) : layer.name;
        const double own = pattern_value(config, "alpha_pattern", name, alpha), rank = static_cast<double>(down->shape[0]);
        if (own > 0 && std::isfinite(own)) layer.factor = own / (rank_stabilised ? std::sqrt(rank) : rank);
    }
}

std::vector<float> AdapterFile::read(const TensorInfo & tensor) const {
    std::vector<float> numbers = source_->read_f32(tensor);
    source_->check_files();
    for (const float number : numbers) {
        if (std::isfinite(number)) continue;
        throw Error(ErrorCode::model_format,
                    name_ + ": \"" + tensor.name.substr(0, 200) +
                        "\" contains values that are not finite; the file is damaged, or its training failed");
    }
    return numbers;
}

}  // namespace latent::formats
