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
    ScalePtr scale;  // of the tensor, by which its numbers are multiplied; null: they are what they are
};

/// How one tensor is put together out of files: rows stacked in order, or a single matrix transposed.
struct TensorRecipe {
    std::string name;
    std::vector<int64_t> shape;  // of the result; any shape with the element count of the rows
    std::vector<RowSlice> rows;
    bool transpose = false;  // of one whole matrix [n, m] -> [m, n]

    /// A whole tensor under a new name.
    static TensorRecipe whole(const std::string & name, TensorSourcePtr source, const TensorInfo & tensor);
};

/// A source that presents tensors of other sources under new names and shapes. Nothing is copied before it is read; a tensor
/// made of adjacent rows is still a view into its file. Scaled tensors are given as float32. Throws model_format where a recipe
/// does not fit its tensors (element counts, types that differ, rows that cut a quantised block).
class MappedSource : public TensorSource {
public:
    MappedSource(std::string name, std::vector<TensorRecipe> recipes, std::string metadata_json = "{}");

    Span<const uint8_t> view(const TensorInfo & tensor) const override;
    void read(const TensorInfo & tensor, void * destination) const override;
    void release(const TensorInfo & tensor) const override;
    void check_files() const override;
    std::string metadata_json() const override { return metadata_; }

private:
    void read_scaled_rows(const TensorRecipe & recipe, float * out) const;

    std::vector<TensorRecipe> recipes_;
    std::vector<TensorSourcePtr> sources_;  // each once
    std::string metadata_;
};

}  // namespace latent::formats
