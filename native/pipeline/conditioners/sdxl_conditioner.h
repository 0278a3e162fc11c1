#pragma once

#include <memory>
#include <vector>

#include "pipeline/conditioners/token_conditioner.h"

namespace latent::pipeline {

/// Encodes prompts with the text towers of SDXL: CLIP ViT-L and OpenCLIP bigG, concatenated in the width of the context, or only
/// bigG (the refiner). The pooled output of the last tower for the first window is the first part of the vector.
class SdxlTextConditioner final : public TokenConditioner {
public:
    /// `zero_empty`: without a negative prompt, the unconditional half is zeros; otherwise a negative prompt is required.
    SdxlTextConditioner(std::vector<std::unique_ptr<models::ClipText>> towers, bool zero_empty, PartResidency & residency);

    std::vector<models::Network *> networks() const override;
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const override;
    std::string takes() const override { return "a prompt"; }
    ConditioningForm form() const override;
    void info(Json & out) const override;
    bool has_null() const override { return zero_empty_; }
    bool guides() const override { return true; }
    /// The tower whose pooled output is used.
    models::ClipText * text_embedder() const override { return &pooling(); }
    void encode_tokens(const PromptTokens & tokens, const JobContext & job, Conditioning & out) override;
    void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative, const EncodeContext & context,
                              Conditioning & out) override;

protected:
    std::vector<int64_t> vector_widths() const override;

private:
    models::ClipText & pooling() const { return *towers_.back(); }

    std::vector<models::ClipText *> towers_;              // the first is the encoder
    std::vector<std::unique_ptr<models::ClipText>> own_;  // the others
    bool zero_empty_;
};

/// SDXL's size conditioning, numbers that are embedded one after another at the end of the vector: original size, crop, and
/// target size (base) or aesthetic score (refiner).
class SizeConditioner final : public Conditioner {
public:
    /// `numbers`: length of its part of the vector: 6 * 256, or 5 * 256 with a score.
    explicit SizeConditioner(int64_t numbers) : numbers_(numbers) {}

    std::string takes() const override { return ""; }
    std::vector<InputUse> reads() const override { return {{Input::sizes, false}}; }
    ConditioningForm form() const override;
    std::string misfit(const ModelSpec & spec) const override;
    void info(Json & out) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;
    void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative, const EncodeContext & context,
                              Conditioning & out) override;

private:
    bool scores() const;
    void append(const Inputs & inputs, const Frame & frame, bool negative, Conditioning & out) const;

    int64_t numbers_;
};

}  // namespace latent::pipeline
