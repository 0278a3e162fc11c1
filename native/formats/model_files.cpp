#include "formats/model_files.h"

#include <algorithm>
#include <set>

#include "core/path.h"
#include "formats/naming/canonical.h"
#include "formats/naming/canonical_source.h"
#include "formats/naming/check_parameters.h"
#include "formats/naming/key_map.h"
#include "formats/open.h"
#include "formats/spec/config.h"
#include "formats/spec/detect.h"
#include "formats/spec/few_step.h"
#include "formats/spec/markers.h"

namespace latent::formats {

namespace {

/// Everything that was opened for one model.
struct Opened {
    std::vector<PartSource> sources;
    DiffusersConfigs configs;
    Json files = Json::object();
    std::string variant;           // requested
    bool variant_found = false;    // found in at least one folder
    std::set<std::string> others;  // variants in the folders that lack it
};

Json read_json(const std::string & path) {
    return path_kind(path) == PathKind::file ? parse_json(read_text_file(path, uint64_t{4} << 20), path) : Json();
}

Json read_object(const std::string & path) {
    Json json = read_json(path);
    if (!json.is_null() && !json.is_object()) throw Error(ErrorCode::model_format, path + " is not a JSON object");
    return json;
}

/// The other half of a tiny autoencoder next to the given file, "" if there is none: taesd_encoder.pth for taesd_decoder.pth.
/// `half`: "encoder." or "decoder.".
std::string other_half(const std::string & path, const std::string & half) {
    const std::string word = half.substr(0, 7), name = file_name(path);
    const size_t at = name.rfind(word);
    if (at == std::string::npos) return "";
    std::string other = path;
    other.replace(path.size() - name.size() + at, word.size(), word == "encoder" ? "decoder" : "encoder");
    return path_kind(other) == PathKind::file ? other : "";
}

void add_source(Opened & opened, Part part, const std::string & path) {
    if (!opened.variant.empty() && path_kind(path) == PathKind::folder) {
        const std::vector<std::string> variants = weight_variants(path);
        const bool here = std::find(variants.begin(), variants.end(), opened.variant) != variants.end();
        opened.variant_found = opened.variant_found || here;
        opened.others.insert(variants.begin(), variants.end());
    }
    TensorSourcePtr source = open_model_file(path, opened.variant);
    if (part != Part::image) refuse_other_kinds(*source);
    const std::string half = part == Part::whole || part == Part::vae ? tiny_half(*source) : "";
    opened.files["sources"].push_back(path);
    opened.sources.push_back({std::move(source), part});
    if (half.empty()) return;
    const std::string other = other_half(path, half);
    if (other.empty()) return;
    TensorSourcePtr beside = open_model_file(other);
    if (tiny_half(*beside).empty() || tiny_half(*beside) == half) return;
    opened.files["sources"].push_back(other);
    opened.sources.push_back({std::move(beside), part});
}

/// The component's folder inside a diffusers folder, if a part is given as a whole diffusers folder.
std::string component_folder(const std::string & path, Part part, const std::string & variant) {
    if (path_kind(path) != PathKind::folder || !find_weights_file(path, variant).empty()) return path;
    static const std::pair<Part, const char *> names[] = {{Part::unet, "unet"}, {Part::vae, "vae"},
                                                          {Part::vae, "vqvae"}, {Part::text, "text_encoder"},
                                                          {Part::text, "bert"}, {Part::image, "image_encoder"}};
    for (const auto & name : names) {
        if (name.first == part && path_kind(join_path(path, name.second)) == PathKind::folder)
            return join_path(path, name.second);
    }
    return path;
}

/// Adds a component from its own folder or file, with the config.json next to the weights.
void add_part(Opened & opened, Part part, const std::string & given) {
    const std::string path = component_folder(given, part, opened.variant);
    const bool folder = path_kind(path) == PathKind::folder;
    const Json config = folder ? read_object(join_path(path, "config.json")) : Json();
    if (part == Part::unet && !config.is_null()) opened.configs.unet = config;
    if (part == Part::vae && !config.is_null()) opened.configs.vae = config;
    if (part == Part::text && !config.is_null()) opened.configs.text_encoder = config;
    if (part == Part::text_2 && !config.is_null()) opened.configs.text_encoder_2 = config;
    if (part == Part::image && !config.is_null()) opened.configs.image_encoder = config;
    add_source(opened, part, path);
}

bool is_folder(const std::string & path) {
    return path_kind(path) == PathKind::folder;
}

/// The tokenizer's padding settings: special_tokens_map.json, or tokenizer_config.json.
Json read_tokenizer(const std::string & folder) {
    if (!is_folder(folder)) return Json();
    const Json map = read_object(join_path(folder, "special_tokens_map.json"));
    return !map.is_null() && map.contains("pad_token") ? map : read_object(join_path(folder, "tokenizer_config.json"));
}

bool is_diffusers_folder(const std::string & path) {
    return path_kind(join_path(path, "model_index.json")) == PathKind::file ||
           (is_folder(join_path(path, "unet")) && (is_folder(join_path(path, "vae")) || is_folder(join_path(path, "vqvae"))));
}

/// Whether model_index.json lists a component as present ([null, null] means left out).
bool lists(const Json & index, const char * name) {
    const auto entry = index.is_object() ? index.find(name) : index.end();
    if (!index.is_object() || entry == index.end() || entry->is_null()) return false;
    return !entry->is_array() || entry->empty() || !entry->front().is_null();
}

/// Throws for a component without weights. Ignoring it would load the folder as a different model.
[[noreturn]] void unreadable_component(const std::string & folder, const char * name, bool listed) {
    const std::string inside = join_path(folder, name);
    const bool there = path_kind(inside) == PathKind::folder;
    std::vector<std::string> names = there ? list_folder(inside) : std::vector<std::string>();
    if (names.size() > 32) names.resize(32);
    const Json details = {{"reason", "component"}, {"component", name}, {"folder", inside}, {"files", names}};
    throw Error(
        ErrorCode::model_format,
        folder + ": " + (listed ? "model_index.json lists the component \"" : "the folder of the component \"") + name + "\"" +
            (!listed ? std::string()
             : there ? std::string(", whose folder")
                     : std::string(", which is missing")) +
            (there ? " contains no weights: no diffusion_pytorch_model, model or pytorch_model file (.safetensors or .bin)"
                   : "") +
            "; download it, or give the part's own file",
        details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void add_diffusers_folder(Opened & opened, const std::string & folder, const ModelParts & parts) {
    const auto inside = [&](const char * name) { return join_path(folder, name); };
    opened.configs.index = read_object(inside("model_index.json"));
    opened.configs.scheduler = read_object(join_path(inside("scheduler"), "scheduler_config.json"));
    opened.configs.low_res_scheduler = read_object(join_path(inside("low_res_scheduler"), "scheduler_config.json"));
    opened.configs.tokenizer = read_tokenizer(inside("tokenizer"));
    opened.configs.tokenizer_2 = read_tokenizer(inside("tokenizer_2"));
    if (is_folder(inside("tokenizer"))) opened.files["tokenizerFolder"] = inside("tokenizer");
    // Takes the first name that is listed, otherwise the first that has a folder.
    const auto add = [&](Part part, std::initializer_list<const char *> names) {
        for (const bool listed : {true, false}) {
            for (const char * name : names) {
                const bool there = is_folder(inside(name));
                if (listed ? !lists(opened.configs.index, name) : !there) continue;
                if (!there || find_weights_file(inside(name), opened.variant).empty()) unreadable_component(folder, name, listed);
                return add_part(opened, part, inside(name));
            }
        }
    };
    if (parts.vae.empty())
        add(Part::vae, {"vae", "vqvae"});
    else
        opened.configs.replaced_vae = read_object(join_path(inside("vae"), "config.json"));
    if (parts.first_stage_only) return;
    if (parts.unet.empty()) add(Part::unet, {"unet"});
    if (parts.text_encoder.empty()) {
        add(Part::text, {"text_encoder", "bert"});
        add(Part::text_2, {"text_encoder_2"});
    }
}

/// A folder with a single component tells its kind in config.json.
Part part_of_config(const Json & config) {
    const std::string name = text_at(config, "_class_name");
    if (name.find("UNet") != std::string::npos) return Part::unet;
    if (name.find("Autoencoder") != std::string::npos || name == "VQModel") return Part::vae;
    if (config.is_object() && (config.contains("text_config") || text_at(config, "model_type").find("clip") != std::string::npos))
        return Part::text;
    return Part::whole;
}

void add_model(Opened & opened, const ModelParts & parts) {
    const std::string & path = parts.model;
    const PathKind kind = path_kind(path);
    if (kind == PathKind::missing) throw Error(ErrorCode::io, "There is no file or folder \"" + path + "\"");
    if (kind == PathKind::folder && is_diffusers_folder(path)) {
        add_diffusers_folder(opened, path, parts);
        return;
    }
    // A folder with nothing but vae/ (or unet/ ...) in it.
    if (kind == PathKind::folder && find_weights_file(path, opened.variant).empty()) {
        add_diffusers_folder(opened, path, parts);
        if (!opened.sources.empty()) return;
    }
    const Json config = kind == PathKind::folder ? read_object(join_path(path, "config.json")) : Json();
    const Part part = part_of_config(config);
    if (config.is_object() && config.contains("text_config") && config.contains("vision_config")) {  // CLIPModel: has both towers
        opened.configs.text_encoder = opened.configs.image_encoder = config;
        add_source(opened, Part::whole, path);
    } else if (part != Part::whole) {
        add_part(opened, part, path);
    } else {
        add_source(opened, Part::whole, path);
    }
}

Opened open_parts(const ModelParts & parts) {
    Opened opened;
    opened.files["sources"] = Json::array();
    opened.variant = parts.variant;
    if (!parts.variant.empty() && !is_variant_name(parts.variant)) {
        throw Error(ErrorCode::invalid_argument, "\"" + parts.variant.substr(0, 80) + "\" is not a valid variant name");
    }
    if (!parts.model.empty()) add_model(opened, parts);
    if (!parts.unet.empty() && !parts.first_stage_only) add_part(opened, Part::unet, parts.unet);
    if (!parts.text_encoder.empty() && !parts.first_stage_only) add_part(opened, Part::text, parts.text_encoder);
    if (!parts.vae.empty()) add_part(opened, Part::vae, parts.vae);
    if (!parts.image_encoder.empty() && !parts.first_stage_only) add_part(opened, Part::image, parts.image_encoder);
    if (opened.sources.empty()) {
        throw Error(
            parts.model.empty() ? ErrorCode::invalid_argument : ErrorCode::model_format,
            parts.model.empty() ? "No model file was given" : "\"" + parts.model + "\" contains no weights of a known kind");
    }
    if (!parts.variant.empty() && !opened.variant_found) {
        std::string others;
        for (const std::string & other : opened.others) others += (others.empty() ? "" : ", ") + other;
        throw Error(ErrorCode::invalid_argument,
                    "These files have no variant \"" + parts.variant + "\"" +
                        (others.empty() ? "; load them without variant" : "; available: " + others),
                    Json{{"variant", parts.variant}, {"variants", opened.others}}.dump());
    }
    return opened;
}

Json metadata_of(const Opened & opened) {
    for (const PartSource & part : opened.sources) {
        const Json metadata = parse_json(part.source->metadata_json(), part.source->name() + ": metadata");
        if (metadata.is_object() && metadata.contains("latent.spec")) return metadata;
    }
    return Json::object();
}

/// The source reduced to the tensors that `wanted` names.
TensorSourcePtr restrict_to(const CanonicalModel & model, const std::vector<std::string> & wanted) {
    const std::set<std::string> names(wanted.begin(), wanted.end());
    std::vector<TensorRecipe> recipes;
    for (const TensorInfo & tensor : model.tensors->tensors()) {
        if (names.count(tensor.name)) recipes.push_back(TensorRecipe::whole(tensor.name, model.tensors, tensor));
    }
    return std::make_shared<MappedSource>(model.tensors->name(), std::move(recipes), model.tensors->metadata_json());
}

/// Averaged and raw weights must not be mixed: with EMA, every weight of the U-Net needs an averaged copy.
void require_ema(const CanonicalModel & model, const std::vector<std::string> & taken) {
    const std::set<std::string> names(taken.begin(), taken.end());
    for (const std::string & name : model.without_ema) {
        if (names.count(name) == 0) continue;
        throw Error(ErrorCode::model_format, model.tensors->name() + ": the EMA copy of \"" + name +
                                                 "\" is missing; set ema to false to read the raw weights");
    }
}

/// An unsupported type matters only for weights that are used.
void require_readable(const TensorSource & tensors) {
    for (const TensorInfo & tensor : tensors.tensors()) {
        if (dtype_is_readable(tensor.dtype)) continue;
        const Json details = {{"tensor", tensor.name}, {"found", tensor.type_name()}, {"nearest", "f16"}};
        throw Error(ErrorCode::unsupported_model,
                    tensors.name() + ": the weight \"" + tensor.name + "\" is stored as " + tensor.type_name() +
                        ", which is not supported; store it as f16, bf16, f32 or one of ggml's block types",
                    details.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
}

void keep_first_stage(Detection & detection) {
    ModelSpec & spec = detection.spec;
    if (!spec.first_stage) {
        throw Error(ErrorCode::unsupported_model, "There is no first stage (autoencoder) in these files",
                    Json{{"found", spec.name}, {"nearest", "KL-f8"}}.dump());
    }
    spec.unet.reset();
    spec.conditioners.clear();
    spec.kind = spec.family = "autoencoder";
    spec.conditioning_key = "none";
    spec.use_ema = false;
    for (auto it = detection.unknown.begin(); it != detection.unknown.end();) {
        it = *it == "/scaleFactor" ? std::next(it) : detection.unknown.erase(it);
    }
}

/// Keeps only the first stage's tensors; the rest of the file need not be known.
void drop_other_parts(CanonicalModel & model) {
    std::vector<TensorRecipe> recipes;
    for (const TensorInfo & tensor : model.tensors->tensors()) {
        if (tensor.name.rfind(stage_prefix, 0) == 0) recipes.push_back(TensorRecipe::whole(tensor.name, model.tensors, tensor));
    }
    model.tensors = std::make_shared<MappedSource>(model.tensors->name(), std::move(recipes), model.tensors->metadata_json());
    model.has_unet = false;
    model.unknown_unet.clear();
    model.text_prefix = {};
    model.has_image = false;
}

/// The file that contains the U-Net, null if there is none.
const TensorSource * network_source(const Opened & opened) {
    for (const Part part : {Part::unet, Part::whole}) {
        for (const PartSource & source : opened.sources) {
            if (source.part == part) return source.source.get();
        }
    }
    return nullptr;
}

PredictionMarkers markers_of(const Opened & opened) {
    const TensorSource * source = network_source(opened);
    return source ? prediction_markers(*source) : PredictionMarkers{};
}

Json network_metadata(const Opened & opened) {
    const TensorSource * source = network_source(opened);
    return source ? parse_json(source->metadata_json(), source->name() + ": metadata") : Json();
}

/// Whether a configuration states what the network predicts, rather than leaving it to the classes' default.
bool names_prediction(const Json & config) {
    const Json params = config.is_object() ? object_at(object_at(config, "model"), "params") : Json();
    return params.is_object() && (params.contains("parameterization") || params.contains("denoiser_config"));
}

/// Replaces the first stage of the specification or configuration by the tiny one, whose codes are latents that include the
/// scale factor: that of the family's own first stage for models with latents of their own.
void use_tiny_stage(Detection & detection, const TensorSource & tensors, bool is_stored) {
    ModelSpec & spec = detection.spec;
    const bool was_tiny = is_stored && spec.first_stage && spec.first_stage->kind == "tiny";
    spec.first_stage = detect_first_stage(tensors);
    detection.unknown.erase("/scaleFactor");
    if (spec.latents_mean.empty()) spec.scale_factor = 1.0;
    if (was_tiny) return;
    for (std::vector<double> * statistics : {&spec.latents_mean, &spec.latents_std}) {
        for (double & value : *statistics) value *= family_scale_factor(spec);
    }
}

/// The scale factor that belongs to the file's U-Net: a first stage alone does not tell Stable Diffusion's from SDXL's. None if
/// there is no U-Net, or an unknown one, which does not matter to a caller who wants the first stage.
std::optional<double> scale_factor_of_whole(const CanonicalModel & model) {
    if (!model.has_unet) return std::nullopt;
    try {
        const Detection whole = detect(model);
        if (whole.unknown.count("/scaleFactor") == 0) return whole.spec.scale_factor;
    } catch (const Error & error) {
        if (error.code() != ErrorCode::unsupported_model && error.code() != ErrorCode::model_format) throw;
    }
    return std::nullopt;
}

Detection specify(const Opened & opened, const CanonicalModel & model, const ModelParts & parts, const Json & metadata,
                  const std::optional<double> & scale_factor) {
    Detection detection;
    if (metadata.contains("latent.spec")) {
        const Json & stored = metadata.at("latent.spec");
        detection.spec = spec_from_json(stored.is_string() ? parse_json(stored.get<std::string>(), "latent.spec") : stored);
        detection.spec.naming = "gguf";
    } else {
        detection = detect(model);
        if (scale_factor) detection.spec.scale_factor = *scale_factor;
        apply_diffusers_configs(detection, opened.configs);
    }
    if (!parts.config.is_null()) apply_compvis_config(detection, parts.config, model);
    const bool settled = metadata.contains("latent.spec") || names_prediction(parts.config);
    const PredictionMarkers markers = detection.spec.unet && !settled ? markers_of(opened) : PredictionMarkers{};
    // The caller's type overrides another one of the markers, and everything that belongs to it.
    const bool overridden =
        parts.spec.is_object() && parts.spec.contains("prediction") && parts.spec.at("prediction") != markers.type;
    if (detection.spec.unet && !settled && !overridden) {
        const bool overruled = markers.from_schedule && !opened.configs.scheduler.is_null();
        if (!overruled) apply_markers(detection, markers);
    }
    if (!metadata.contains("latent.spec") && detection.spec.unet) apply_title_defaults(detection.spec, network_metadata(opened));
    if (model.has_stage && is_tiny_stage(*model.tensors))
        use_tiny_stage(detection, *model.tensors, metadata.contains("latent.spec"));
    if (parts.first_stage_only) {
        keep_first_stage(detection);
        if (!metadata.contains("latent.spec") && detection.spec.first_stage->kind == "kl") {
            for (const PartSource & source : opened.sources) {
                const PredictionMarkers marked = prediction_markers(*source.source);
                if (marked.type == "edm") use_edm_statistics(detection);
            }
        }
    }
    if (parts.ema) detection.spec.use_ema = *parts.ema;
    const std::string name = model.tensors->name();
    const bool was_edm = detection.spec.schedule.edm.has_value();
    apply_overrides(detection.spec, parts.spec);
    if (!was_edm && (detection.spec.schedule.edm || detection.spec.prediction == Prediction::edm)) {
        apply_edm_defaults(detection.spec);
        apply_overrides(detection.spec, parts.spec);  // options of the caller take precedence over the defaults
    }
    require_known(detection, parts.spec, name);
    return detection;
}

}  // namespace

OpenedModel open_model(const ModelParts & parts) {
    Opened opened = open_parts(parts);
    const Json metadata = metadata_of(opened);
    CanonicalOptions options;
    options.attention_head_dim = opened.configs.attention_head_dim();
    CanonicalModel model = canonicalise(opened.sources, options);
    std::optional<double> scale_factor;
    if (parts.first_stage_only) {
        scale_factor = scale_factor_of_whole(model);
        drop_other_parts(model);
    }
    OpenedModel result;
    result.spec = specify(opened, model, parts, metadata, scale_factor).spec;
    validate(result.spec);
    if (result.spec.use_ema) {
        if (model.ema_tensors == 0) {
            throw Error(ErrorCode::invalid_argument, model.tensors->name() + " contains no EMA weights; load it without ema");
        }
        options.use_ema = true;
        model = canonicalise(opened.sources, options);
    }
    result.networks = networks::declare_networks(result.spec);
    const std::vector<std::string> names = check_parameters(*result.networks, *model.tensors);
    require_ema(model, names);
    result.tensors = restrict_to(model, names);
    require_readable(*result.tensors);
    result.tensors->check_files();
    if (metadata.contains("latent.tokenizer") && metadata.at("latent.tokenizer").is_string()) {
        result.tokenizer = metadata.at("latent.tokenizer").get<std::string>();
    }
    result.files = std::move(opened.files);
    result.files["naming"] = result.spec.naming;
    result.files["ignored"] = model.ignored;
    return result;
}

}  // namespace latent::formats
