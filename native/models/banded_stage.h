#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/span.h"
#include "graph/runner.h"
#include "models/autoencoder_layers.h"
#include "models/stored_map.h"

namespace latent::models {

/// Runs the encoder and decoder of a first stage layer by layer, each layer in bands of rows, so that whole maps are never held
/// in float32 and are freed while the next layer reads them. Group norms use the statistics of the whole map, gathered while it
/// is written, so the result is that of the whole network up to the rounding of the maps' type, without tiles and seams.
class BandedStage {
public:
    /// `type`: of the maps between layers, f32, f16 or bf16. runner.limits().band limits the size of bands.
    BandedStage(const StageLayers & layers, const graph::WeightStore & weights, graph::Runner & runner, DType type);

    /// image [in_channels, height, width] -> moments [encoded channels, height / f, width / f], log variances not clamped. Throws
    /// MapOverflow if a value exceeds the range of f16 maps.
    void encode(Span<const float> image, int64_t height, int64_t width, Span<float> moments, const JobContext & job);
    /// latents [embed_dim, height, width] -> image [out_channels, height * f, width * f]. Throws MapOverflow like encode().
    void decode(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image,
                const JobContext & job);
    /// Peak bytes of encode() and decode() besides weights, images and latents. Weights are planned, not loaded.
    uint64_t measure_encode(int64_t height, int64_t width);
    uint64_t measure_decode(int64_t embed_dim, int64_t height, int64_t width);

    struct MapOverflow {};

private:
    enum class Resample { none, twice, half };
    struct Step;
    struct Band;
    struct Results {
        Span<float> y, shortcut;
    };
    void encode_maps(Span<const float> image, int64_t height, int64_t width, Span<float> moments);
    void decode_maps(Span<const float> latents, int64_t embed_dim, int64_t height, int64_t width, Span<float> image);
    StoredMap run_levels(StoredMap x, const std::vector<StageLevel> & levels, const std::string & name, Resample resample);
    StoredMap block(StoredMap x, const StageBlock & w, const std::string & name);
    StoredMap attention(StoredMap x, const StageAttention & w, const std::string & name);
    std::vector<StoredMap> convolve(StoredMap & x, const Step & step, StoredMap * residual, Span<float> picture);
    template <typename Fill>
    Results run_graph(graph::Graph & graph, bool shortcut, const Fill & fill);
    template <typename Fill, typename Take>
    void whole_graph(const std::string & name, const graph::GraphBuilder & build, size_t numbers, const Fill & fill,
                     const Take & take);
    Results count_graph(const std::string & key, const graph::GraphBuilder & build, size_t numbers);
    Results run_band(const StoredMap & x, const Step & step, const Band & band);
    graph::GraphBuilder band_graph(const StoredMap & x, const Step & step, const Band & band) const;
    int64_t band_rows(const StoredMap & x, const Step & step) const;
    void clear();
    void write(StoredMap & map, int64_t first, int64_t rows, Span<float> values, const StoredMap * residual = nullptr);

    const StageLayers & layers_;
    const graph::WeightStore & weights_;
    graph::Runner & runner_;
    DType type_;
    kernels::Pool * pool_;
    const JobContext * job_ = nullptr;  // null: only counts memory
    MapMemory memory_;
    std::string graph_key_;
    std::map<std::string, uint64_t> measured_;      // by graph
    uint64_t counted_ = 0;                          // bytes of the latest graph
    std::vector<float> input_, output_, shortcut_;  // for graphs outside host memory
    std::vector<float> scale_, shift_;
};

}  // namespace latent::models
