#pragma once

#include <string>
#include <vector>

#include "core/tensor_source.h"
#include "formats/naming/scales.h"

namespace latent::formats {

/// Rows [begin, end) of the outermost dimension of a tensor in some file.
struct RowSlice {
    TensorSourcePtr source;
    size_t index = 0;  // in source->tensors()
    int64_t begin = 0;
    int64_t end = 0;
    ScalePtr scale;  // factor for the tensor's values; null: none
};

/// How a tensor is assembled from files: rows stacked in order, or a single matrix transposed.
struct TensorRecipe {
    std::string name;
    std::vector<int64_t> shape;  // shape of the result; any with the element count of the rows
    std::vector<RowSlice> rows;
    bool transpose = false;  // transposes one whole matrix [n, m] -> [m, n]

    /// A whole tensor under a new name.
    static TensorRecipe whole(const std::string & name, TensorSourcePtr source, const TensorInfo & tensor);
};

/// Presents tensors of other sources under new names and shapes. Nothing is copied before it is read; a tensor of adjacent rows
/// stays a view into its file. Scaled tensors are returned as float32. Throws model_format if a recipe does not fit its tensors
/// (element counts, different types, rows that cut a quantised block).
class MappedSource : public TensorSource {
public:
    MappedSource(std::string name, std::vector<TensorRecipe> recipes, std::string metadata_json = "{}");

    Span<const uint8_t> view(const TensorInfo & tensor) const override;
    void read(const TensorInfo & tensor, void * destination) const override;
    std::vector<FileRange> places(const TensorInfo & tensor) const override;
    void check_files() const override;
    std::string metadata_json() const override { return metadata_; }

private:
    void read_scaled_rows(const TensorRecipe & recipe, float * out) const;

    std::vector<TensorRecipe> recipes_;
    std::vector<TensorSourcePtr> sources_;  // each once
    std::string metadata_;
};

}  // namespace latent::formats
