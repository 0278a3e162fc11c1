#pragma once

#include <functional>
#include <memory>

#include "models/clip_text.h"
#include "models/token_encoder.h"
#include "pipeline/conditioners/conditioner.h"

namespace latent::pipeline {

/// Encodes windows of integer tokens as tokens of cross-attention, in which the halves of guidance differ.
class TokenConditioner : public Conditioner {
public:
    std::vector<models::Network *> networks() const override;
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const override;
    std::vector<InputUse> reads() const override { return {{Input::prompt}}; }
    ConditioningForm form() const override;
    void info(Json & out) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;
    void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative, const EncodeContext & context,
                              Conditioning & out) override;

    /// Number of cross-attention tokens for the inputs; without inputs, the usual number.
    virtual int64_t tokens(const Inputs * inputs) const;
    /// Whether guidance works without a negative prompt (with one it always does).
    virtual bool has_null() const { return false; }
    /// Whether the model supports guidance: info().condition.guidance.
    virtual bool guides() const { return has_null(); }
    /// Throws invalid_argument if there is no unconditional input for guidance.
    virtual void check_unconditional(const std::optional<PromptTokens> & negative) const;

    /// Encodes only windows of tokens, if the model has an encoder for them.
    virtual void check_tokens(const PromptTokens & tokens) const;
    virtual void encode_tokens(const PromptTokens & tokens, const JobContext & job, Conditioning & out);

    /// The CLIP tower that embeds a text as one vector, null if there is none.
    virtual models::ClipText * text_embedder() const { return nullptr; }
    /// One window of checked tokens to CLIP's text_embeds [projection_dim], not normalised. Throws unsupported_model without such
    /// a tower, or if it has no projection.
    std::vector<float> embed_text(const TokenChunk & window, const JobContext & job);

protected:
    /// The windows that it accepts.
    struct Rules {
        bool many = false;       // several windows, of any length up to the encoder's, with weights
        bool whole = false;      // a window has exactly the encoder's length
        bool clip_skip = false;  // clip_skip is supported
        const char * unit = "token";
    };
    TokenConditioner(std::unique_ptr<models::TokenEncoder> encoder, PartResidency & residency, Rules rules);

    /// "this model takes a prompt".
    std::string this_model_takes() const { return "this model takes " + takes(); }
    using WindowEncoder = std::function<std::vector<float>(const TokenChunk & chunk)>;
    using BlankWindow = std::function<TokenChunk(size_t length)>;
    /// Encodes the windows in order as [tokens, dim], with emphasis; calls `done` after each.
    static std::vector<float> encode_windows(const PromptTokens & tokens, int64_t dim, const WindowEncoder & encode,
                                             const BlankWindow & blank_of, const std::function<void()> & done,
                                             const JobContext & job);
    static int64_t count(const PromptTokens & tokens);
    /// The vectors of a window for one of the text encoders.
    static models::TokenRuns runs_of(const TokenChunk & chunk, size_t encoder);
    /// Widths of the vectors that windows may contain, per text encoder; empty if none are allowed.
    virtual std::vector<int64_t> vector_widths() const { return {}; }
    void check_vectors(const TokenChunk & chunk) const;
    /// The empty prompt, the baseline of "comfy" emphasis.
    virtual TokenChunk blank_window(size_t length) const;

    std::unique_ptr<models::TokenEncoder> encoder_;  // null if embeddings are given
    PartResidency & residency_;
    Rules rules_;
};

/// The empty prompt of a CLIP tower.
TokenChunk blank_clip_window(const ClipTextConfig & config, size_t length);

/// Encodes prompts with CLIP's text tower (Stable Diffusion).
class ClipConditioner final : public TokenConditioner {
public:
    ClipConditioner(std::unique_ptr<models::ClipText> clip, PartResidency & residency);
    std::string takes() const override { return "a prompt"; }
    bool guides() const override { return true; }
    models::ClipText * text_embedder() const override { return static_cast<models::ClipText *>(encoder_.get()); }

protected:
    std::vector<int64_t> vector_widths() const override { return {encoder_->dim()}; }
    TokenChunk blank_window(size_t length) const override;

private:
    const ClipTextConfig & config_;
};

/// Encodes prompts with BERTEmbedder.
class BertConditioner final : public TokenConditioner {
public:
    BertConditioner(std::unique_ptr<models::TokenEncoder> bert, PartResidency & residency);
    std::string takes() const override { return "a prompt"; }
    bool guides() const override { return true; }

protected:
    TokenChunk blank_window(size_t length) const override;
};

/// Encodes layouts of boxes.
class LayoutConditioner final : public TokenConditioner {
public:
    LayoutConditioner(std::unique_ptr<models::TokenEncoder> bert, PartResidency & residency);
    std::string takes() const override { return "a layout of boxes"; }
};

/// Encodes a class number.
class ClassConditioner final : public TokenConditioner {
public:
    /// `null_class`: -1 if there is none.
    ClassConditioner(std::unique_ptr<models::TokenEncoder> table, int32_t null_class, PartResidency & residency);
    std::string takes() const override { return "a class"; }
    void info(Json & out) const override;
    bool has_null() const override { return null_class_ >= 0; }
    void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative, const EncodeContext & context,
                              Conditioning & out) override;

private:
    int32_t null_class_;
};

}  // namespace latent::pipeline
