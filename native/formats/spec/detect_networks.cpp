#include <algorithm>

#include "formats/naming/key_map.h"
#include "formats/spec/detect.h"

namespace latent::formats {

namespace {

constexpr int most_entries = 256;

/// Looks up names and shapes below one prefix. A missing tensor is distinct from one with size zero.
class ShapeReader {
public:
    ShapeReader(const TensorSource & tensors, std::string prefix) : tensors_(tensors), prefix_(std::move(prefix)) {}

    const TensorInfo * find(const std::string & name) const { return tensors_.find(prefix_ + name); }
    bool has(const std::string & name) const { return find(name) != nullptr; }

    int size(const std::string & name, size_t axis) const {
        const TensorInfo * tensor = find(name);
        if (!tensor) broken("lacks \"" + prefix_ + name + "\"");
        if (axis >= tensor->shape.size() || tensor->shape[axis] < 1 || tensor->shape[axis] > (1 << 24)) {
            broken("has a tensor \"" + prefix_ + name + "\" with an impossible shape");
        }
        return static_cast<int>(tensor->shape[axis]);
    }

    size_t rank(const std::string & name) const {
        const TensorInfo * tensor = find(name);
        return tensor ? tensor->shape.size() : 0;
    }

    /// Counts numbered blocks up to the highest index; a gap is later reported as missing tensors.
    int count(const std::string & before, const std::string & after) const {
        int last = 0;
        for (int i = 0; i < most_entries; ++i) {
            if (has(before + std::to_string(i) + after)) last = i + 1;
        }
        return last;
    }

    [[noreturn]] void broken(const std::string & why) const {
        throw Error(ErrorCode::model_format,
                    tensors_.name() + " " + why + "; the file is incomplete or not a latent diffusion model");
    }
    [[noreturn]] void unsupported(const std::string & what, const char * nearest) const {
        throw Error(ErrorCode::unsupported_model, tensors_.name() + ": " + what,
                    Json{{"found", what}, {"nearest", nearest}}.dump());
    }

private:
    const TensorSource & tensors_;
    std::string prefix_;
};

std::string num(int value) {
    return std::to_string(value);
}

constexpr const char * nearest_unet = "latent diffusion U-Net";

int ratio(const ShapeReader & shapes, int channels, int base) {
    if (channels % base != 0)
        shapes.unsupported("a level of " + num(channels) + " channels over a base of " + num(base), nearest_unet);
    return channels / base;
}

/// Counts blocks per level and levels; fills the channel multipliers.
void detect_levels(const ShapeReader & shapes, UNetConfig & c) {
    int entries = 1;
    const auto present = [&](int i) {
        const std::string at = "input_blocks." + num(i) + ".0.";
        return shapes.has(at + "in_layers.2.weight") || shapes.has(at + "op.weight");
    };
    while (entries < most_entries && present(entries)) ++entries;
    int per_level = 0;  // ResBlocks per level, from the first entry that upsamples
    for (int i = 0; i < entries && per_level == 0; ++i) {
        for (const int sub : {1, 2}) {
            const std::string at = "output_blocks." + num(i) + '.' + num(sub) + '.';
            if (shapes.has(at + "conv.weight") || shapes.has(at + "in_layers.2.weight")) per_level = i;
        }
    }
    c.num_res_blocks = per_level > 0 ? per_level : entries - 1;
    if (c.num_res_blocks < 1 || entries % (c.num_res_blocks + 1) != 0) {
        shapes.unsupported("a U-Net of " + num(entries) + " input blocks that do not divide into equal levels", nearest_unet);
    }
    const int levels = entries / (c.num_res_blocks + 1);
    c.resblock_updown = levels > 1 && !shapes.has("input_blocks." + num(c.num_res_blocks + 1) + ".0.op.weight");
    c.channel_mult.clear();
    for (int level = 0; level < levels; ++level) {
        const std::string first = "input_blocks." + num(1 + level * (c.num_res_blocks + 1)) + ".0.in_layers.2.weight";
        c.channel_mult.push_back(ratio(shapes, shapes.size(first, 0), c.model_channels));
    }
}

int depth_of(const ShapeReader & shapes, const std::string & attention) {
    int depth = 0;
    while (depth < most_entries && shapes.has(attention + "transformer_blocks." + num(depth) + ".attn2.to_k.weight")) ++depth;
    return depth;
}

/// True if attn1 reads the context: the input width of its keys differs from the channels.
bool reads_context(const ShapeReader & shapes, const std::string & attention, int channels) {
    const std::string key = attention + "transformer_blocks.0.attn1.to_k.weight";
    return shapes.has(key) && shapes.size(key, 1) != channels;
}

/// What the names of an entry's attention tell.
struct FoundAttention {
    std::string at;  // "input_blocks.4.1."
    int level = 0, depth = 0;
};

/// The entries of one half in order, including those without attention. Symmetry is not assumed: in distilled networks depths
/// differ between the two halves and between neighbouring entries.
std::vector<FoundAttention> find_attentions(const ShapeReader & shapes, const UNetConfig & c, bool down) {
    std::vector<FoundAttention> found;
    const int blocks = c.num_res_blocks + (down ? 0 : 1);
    for (int entry = 0; entry < c.levels() * blocks; ++entry) {
        FoundAttention one;
        const int level = entry / blocks;
        one.level = down ? level : c.levels() - 1 - level;
        one.at =
            (down ? "input_blocks." + num(1 + level * (blocks + 1) + entry % blocks) : "output_blocks." + num(entry)) + ".1.";
        if (shapes.has(one.at + "norm.weight")) one.depth = shapes.has(one.at + "qkv.weight") ? 1 : depth_of(shapes, one.at);
        found.push_back(std::move(one));
    }
    return found;
}

/// Middle block and kind of attention.
void detect_middle(const ShapeReader & shapes, UNetConfig & c, const std::vector<FoundAttention> & attentions) {
    const std::string middle = "middle_block.1.";
    const auto has = [&](const std::string & at, const char * name) { return shapes.has(at + name); };
    const bool res = shapes.has("middle_block.0.in_layers.2.weight"), other = has(middle, "in_layers.2.weight");
    bool qkv = has(middle, "qkv.weight"), transformer = has(middle, "proj_in.weight");
    const bool attends = qkv || transformer;
    for (const FoundAttention & one : attentions) {
        qkv = qkv || has(one.at, "qkv.weight");
        transformer = transformer || has(one.at, "proj_in.weight");
    }
    c.attention = transformer ? UNetAttention::spatial_transformer : qkv ? UNetAttention::attention_block : UNetAttention::none;
    const bool full = attends || (other && c.attention == UNetAttention::none);
    c.middle = full ? "full" : res ? "res_block" : "none";
    if ((other && !full) || (full && !res))
        shapes.unsupported("a U-Net whose middle block has neither attention nor ResBlocks known here", nearest_unet);
}

std::vector<int> entry_depths(const std::vector<FoundAttention> & attentions) {
    std::vector<int> depths;
    for (const FoundAttention & one : attentions) depths.push_back(one.depth);
    return depths;
}

/// Whether one depth per level describes the network (`depths`).
bool is_regular(const std::vector<FoundAttention> & attentions, const std::vector<int> & depths) {
    return std::all_of(attentions.begin(), attentions.end(),
                       [&](const FoundAttention & one) { return one.depth == depths[static_cast<size_t>(one.level)]; });
}

void detect_transformers(const ShapeReader & shapes, UNetConfig & c, const std::vector<FoundAttention> & down,
                         const std::vector<FoundAttention> & up, const std::vector<int> & depths) {
    const std::string middle = "middle_block.1.";
    const bool in_middle = c.has_middle_attention();
    const auto with = [](const FoundAttention & one) { return one.depth > 0; };
    const auto first = std::find_if(down.begin(), down.end(), with), last = std::find_if(up.begin(), up.end(), with);
    if (!in_middle && first == down.end() && last == up.end()) shapes.broken("has attentions without transformer blocks");
    const std::string example = in_middle ? middle : first != down.end() ? first->at : last->at;
    c.use_linear_in_transformer = shapes.rank(example + "proj_in.weight") == 2;
    c.context_dim = shapes.size(example + "transformer_blocks.0.attn2.to_k.weight", 1);
    const int middle_depth = in_middle ? depth_of(shapes, middle) : -1;
    const int usual = in_middle ? middle_depth : *std::max_element(depths.begin(), depths.end());
    const bool same = usual > 0 && std::all_of(depths.begin(), depths.end(), [&](int d) { return d == 0 || d == usual; });
    c.transformer_depth = same ? std::vector<int>{usual} : depths;
    if (in_middle && c.depth_middle() != middle_depth) c.transformer_depth_middle = middle_depth;
    if (!is_regular(down, depths)) c.transformer_depth_input = entry_depths(down);
    if (!is_regular(up, depths)) c.transformer_depth_output = entry_depths(up);

    const auto channels = [&](int level) { return c.model_channels * c.channel_mult[static_cast<size_t>(level)]; };
    if (in_middle) c.disable_middle_self_attention = reads_context(shapes, middle, channels(c.levels() - 1));
    std::vector<bool> disabled(c.channel_mult.size(), false);
    for (const auto * half : {&down, &up}) {
        for (const FoundAttention & one : *half) {
            if (reads_context(shapes, one.at, channels(one.level))) disabled[static_cast<size_t>(one.level)] = true;
        }
    }
    if (std::find(disabled.begin(), disabled.end(), true) != disabled.end()) c.disable_self_attentions = disabled;
}

void detect_attention(const ShapeReader & shapes, UNetConfig & c) {
    c.attention_resolutions.clear();
    c.transformer_depth = {1};
    const std::vector<FoundAttention> down = find_attentions(shapes, c, true), up = find_attentions(shapes, c, false);
    std::vector<FoundAttention> both = down;
    both.insert(both.end(), up.begin(), up.end());
    detect_middle(shapes, c, both);
    std::vector<int> depths(c.channel_mult.size(), 0);  // of the first entry of every level
    for (auto one = down.rbegin(); one != down.rend(); ++one) depths[static_cast<size_t>(one->level)] = one->depth;
    for (int level = c.levels() - 1; level >= 0; --level) {
        if (depths[static_cast<size_t>(level)] > 0) c.attention_resolutions.push_back(1 << level);
    }
    if (c.attention != UNetAttention::spatial_transformer) {
        c.context_dim = 0;
    } else {
        detect_transformers(shapes, c, down, up, depths);
    }
}

}  // namespace

UNetConfig detect_unet(const TensorSource & tensors) {
    const ShapeReader shapes(tensors, unet_prefix);
    UNetConfig c;
    if (shapes.rank("input_blocks.0.0.weight") != 4) shapes.broken("has no input convolution of a U-Net");
    c.model_channels = shapes.size("input_blocks.0.0.weight", 0);
    c.in_channels = shapes.size("input_blocks.0.0.weight", 1);
    c.out_channels = shapes.size("out.2.weight", 0);
    detect_levels(shapes, c);
    detect_attention(shapes, c);
    const std::string first = "input_blocks.1.0.";
    c.scale_shift_norm = shapes.size(first + "emb_layers.1.weight", 0) == 2 * shapes.size(first + "in_layers.2.weight", 0);
    if (shapes.has("label_emb.weight")) {
        c.class_embedding = "embedding";
        c.class_count = shapes.size("label_emb.weight", 0);
    } else if (shapes.has("label_emb.0.0.weight")) {
        c.class_embedding = "vector";
        c.vector_dim = shapes.size("label_emb.0.0.weight", 1);
    }
    if (shapes.has("time_embed.cond_proj.weight")) c.guidance_embed_dim = shapes.size("time_embed.cond_proj.weight", 1);
    return c;
}

namespace {

AutoencoderConfig detect_tiny_stage(const ShapeReader & shapes) {
    AutoencoderConfig c;
    c.kind = "tiny";
    c.encoder = shapes.has("encoder.0.weight");
    if (!shapes.has("decoder.1.weight"))
        shapes.broken(
            "has the encoder of a tiny autoencoder (TAESD) and no decoder: put the decoder's file, whose name has \"decoder\" "
            "in place of \"encoder\", beside it");
    c.channels = shapes.size("decoder.1.weight", 0);
    c.z_channels = c.embed_dim = shapes.size("decoder.1.weight", 1);
    c.out_channels = shapes.size("decoder.19.weight", 0);
    c.in_channels = c.encoder ? shapes.size("encoder.0.weight", 1) : c.out_channels;
    c.channel_mult = {1, 1, 1, 1};
    c.num_res_blocks = 3;
    c.middle_attention = c.double_z = c.quant_conv = false;
    return c;
}

}  // namespace

AutoencoderConfig detect_first_stage(const TensorSource & tensors) {
    const ShapeReader shapes(tensors, stage_prefix);
    if (is_tiny_stage(tensors) || shapes.has("encoder.0.weight")) return detect_tiny_stage(shapes);
    AutoencoderConfig c;
    c.channels = shapes.size("encoder.conv_in.weight", 0);
    c.in_channels = shapes.size("encoder.conv_in.weight", 1);
    c.out_channels = shapes.size("decoder.conv_out.weight", 0);
    c.z_channels = shapes.size("decoder.conv_in.weight", 1);
    const int encoded = shapes.size("encoder.conv_out.weight", 0);
    if (encoded != c.z_channels && encoded != 2 * c.z_channels) {
        shapes.unsupported(
            "a first stage that encodes to " + num(encoded) + " and decodes from " + num(c.z_channels) + " channels", "KL-f8");
    }
    c.double_z = encoded == 2 * c.z_channels;
    c.channel_mult.clear();
    const int levels = std::min(12, shapes.count("encoder.down.", ".block.0.conv1.weight"));
    for (int level = 0; level < levels; ++level) {
        const std::string at = "encoder.down." + num(level) + '.';
        c.channel_mult.push_back(ratio(shapes, shapes.size(at + "block.0.conv1.weight", 0), c.channels));
        if (shapes.has(at + "attn.0.norm.weight")) c.attention_levels.push_back(level);
    }
    if (c.channel_mult.empty()) shapes.unsupported("a first stage without levels", "KL-f8");
    c.num_res_blocks = shapes.count("encoder.down.0.block.", ".conv1.weight");
    c.middle_attention = shapes.has("encoder.mid.attn_1.norm.weight");
    c.quant_conv = shapes.has("post_quant_conv.weight");
    c.embed_dim = c.quant_conv ? shapes.size("post_quant_conv.weight", 1) : c.z_channels;
    if (shapes.has("quantize.embedding.weight")) {
        c.kind = "vq";
        c.codebook_size = shapes.size("quantize.embedding.weight", 0);
    } else if (!c.double_z) {
        shapes.unsupported("a first stage with neither a codebook nor variances", "KL-f8");
    }
    return c;
}

ClipTextConfig detect_clip_text(const TensorSource & tensors, const std::string & prefix) {
    const ShapeReader shapes(tensors, prefix);
    ClipTextConfig c;
    c.vocab_size = shapes.size("embeddings.token_embedding.weight", 0);
    c.hidden_size = shapes.size("embeddings.token_embedding.weight", 1);
    c.max_position_embeddings = shapes.size("embeddings.position_embedding.weight", 0);
    c.intermediate_size = shapes.size("encoder.layers.0.mlp.fc1.weight", 0);
    c.num_hidden_layers = shapes.count("encoder.layers.", ".mlp.fc1.weight");
    c.bos_token_id = std::max(0, c.vocab_size - 2);
    c.eos_token_id = c.pad_token_id = c.vocab_size - 1;
    const std::string tower = "text_model.";
    if (prefix.size() > tower.size()) {
        const TensorInfo * projection = tensors.find(prefix.substr(0, prefix.size() - tower.size()) + "text_projection.weight");
        if (projection && projection->shape.size() == 2)
            c.projection_dim = static_cast<int>(std::min<int64_t>(projection->shape[0], 1 << 24));
    }
    return c;
}

ClipVisionConfig detect_clip_vision(const TensorSource & tensors, const std::string & prefix) {
    const ShapeReader shapes(tensors, prefix);
    ClipVisionConfig c;
    c.hidden_size = shapes.size("embeddings.patch_embedding.weight", 0);
    c.num_channels = shapes.size("embeddings.patch_embedding.weight", 1);
    c.patch_size = shapes.size("embeddings.patch_embedding.weight", 2);
    const int tokens = shapes.size("embeddings.position_embedding.weight", 0);
    int side = 1;
    while (side < 256 && side * side + 1 < tokens) ++side;
    if (side * side + 1 != tokens) shapes.unsupported("an image encoder of " + num(tokens) + " tokens", "CLIP ViT-L/14");
    c.image_size = side * std::min(c.patch_size, 4096);
    c.num_hidden_layers = shapes.count("encoder.layers.", ".mlp.fc1.weight");
    c.intermediate_size = shapes.size("encoder.layers.0.mlp.fc1.weight", 0);
    c.num_attention_heads = 1;
    const std::string tower = "vision_model.";
    const ShapeReader beside(tensors, prefix.substr(0, prefix.size() - tower.size()));
    c.projection_dim = beside.size("visual_projection.weight", 0);
    return c;
}

BertConfig detect_bert(const TensorSource & tensors, const std::string & prefix) {
    const ShapeReader shapes(tensors, prefix);
    BertConfig c;
    c.vocab_size = shapes.size("token_emb.weight", 0);
    c.hidden_size = shapes.size("token_emb.weight", 1);
    c.max_length = shapes.size("pos_emb.emb.weight", 0);
    const int entries = shapes.count("attn_layers.layers.", ".0.weight");
    if (entries < 2 || entries % 2 != 0) {
        shapes.unsupported(
            "a text encoder of " + num(entries) + " layers that do not alternate between attention and feed-forward",
            "BERTEmbedder of txt2img-1p4B");
    }
    c.num_layers = entries / 2;
    c.intermediate_size = shapes.size("attn_layers.layers.1.1.net.0.0.weight", 0);
    const int inner = bert_inner_width(tensors, prefix);
    c.num_heads = std::max(1, inner / c.head_dim);
    return c;
}

int bert_inner_width(const TensorSource & tensors, const std::string & prefix) {
    return ShapeReader(tensors, prefix).size("attn_layers.layers.0.1.to_q.weight", 0);
}

ClassConfig detect_classes(const TensorSource & tensors, const std::string & prefix) {
    const ShapeReader shapes(tensors, prefix);
    ClassConfig c;
    c.classes = shapes.size("embedding.weight", 0);
    c.embed_dim = shapes.size("embedding.weight", 1);
    if (c.classes == 1001) c.null_class = 1000;  // cin256-v2
    return c;
}

RescalerConfig detect_rescaler(const TensorSource & tensors, const std::string & prefix) {
    const ShapeReader shapes(tensors, prefix);
    RescalerConfig c;
    c.out_channels = shapes.size("channel_mapper.weight", 0);
    c.classes = shapes.size("channel_mapper.weight", 1);
    c.bias = shapes.has("channel_mapper.bias");
    return c;
}

}  // namespace latent::formats
