#include "formats/naming/canonical_source.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/error.h"

namespace latent::formats {

namespace {

[[noreturn]] void misfit(const std::string & file, const std::string & name, const std::string & why) {
    throw Error(ErrorCode::model_format, file + ": the tensor \"" + name + "\" " + why);
}

const TensorInfo & tensor_of(const RowSlice & slice) {
    return slice.source->tensors()[slice.index];
}

int64_t row_count(const TensorInfo & tensor) {
    return tensor.shape.empty() ? 1 : tensor.shape[0];
}

uint64_t row_bytes(const TensorInfo & tensor) {
    const int64_t rows = row_count(tensor);
    return rows == 0 ? 0 : tensor.bytes / static_cast<uint64_t>(rows);
}

bool is_whole(const RowSlice & slice) {
    return slice.begin == 0 && slice.end == row_count(tensor_of(slice));
}

bool is_scaled(const TensorRecipe & recipe) {
    return std::any_of(recipe.rows.begin(), recipe.rows.end(), [](const RowSlice & slice) { return slice.scale != nullptr; });
}

/// The values of the rows, multiplied by their scales.
void read_scaled(const RowSlice & slice, std::vector<float> & whole, float * out) {
    const TensorInfo & stored = tensor_of(slice);
    if (whole.empty()) whole = slice.source->read_f32(stored);
    const size_t rows = static_cast<size_t>(row_count(stored)), row = whole.size() / std::max<size_t>(1, rows);
    for (size_t r = static_cast<size_t>(slice.begin); r < static_cast<size_t>(slice.end); ++r) {
        const float scale = !slice.scale ? 1.0f : (*slice.scale)[slice.scale->size() == 1 ? 0 : r];
        for (size_t i = 0; i < row; ++i) *out++ = whole[r * row + i] * scale;
    }
}

TensorInfo describe(const std::string & file, const TensorRecipe & recipe) {
    TensorInfo info;
    info.name = recipe.name;
    info.shape = recipe.shape;
    if (recipe.rows.empty()) misfit(file, recipe.name, "has no source");
    info.dtype = tensor_of(recipe.rows[0]).dtype;
    info.stored_as = tensor_of(recipe.rows[0]).stored_as;
    int64_t elements = 0;
    for (const RowSlice & slice : recipe.rows) {
        const TensorInfo & tensor = tensor_of(slice);
        const int64_t rows = row_count(tensor);
        if (tensor.dtype != info.dtype) misfit(file, recipe.name, "is stored in pieces of different types");
        if (slice.begin < 0 || slice.begin > slice.end || slice.end > rows)
            misfit(file, recipe.name, "has fewer rows than are needed");
        const int64_t per_row = rows == 0 ? 0 : tensor.elements() / rows;
        if (!is_whole(slice) && per_row % dtype_block(tensor.dtype) != 0) {
            misfit(file, recipe.name,
                   std::string("is quantised as ") + dtype_name(tensor.dtype) + " in blocks that splitting it would cut");
        }
        elements += per_row * (slice.end - slice.begin);
        info.bytes += is_whole(slice) ? tensor.bytes : row_bytes(tensor) * static_cast<uint64_t>(slice.end - slice.begin);
    }
    info.scaled_from = tensor_of(recipe.rows[0]).scaled_from;
    if (elements != info.elements()) misfit(file, recipe.name, "has a number of elements that does not match its shape");
    if (recipe.transpose) {
        const TensorInfo & tensor = tensor_of(recipe.rows[0]);
        const bool plain = recipe.rows.size() == 1 && is_whole(recipe.rows[0]) && tensor.shape.size() == 2;
        if (!plain || dtype_is_quantised(tensor.dtype)) misfit(file, recipe.name, "cannot be transposed");
    }
    if (is_scaled(recipe)) {
        if (dtype_is_quantised(info.dtype)) misfit(file, recipe.name, "is quantised and has a scale as well");
        info.scaled_from = info.dtype;
        info.dtype = DType::f32;
        info.bytes = static_cast<uint64_t>(elements) * sizeof(float);
    }
    return info;
}

/// [rows, columns] -> [columns, rows] of elements of `size` bytes.
void transpose(const uint8_t * from, size_t rows, size_t columns, size_t size, uint8_t * to) {
    for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < columns; ++c) std::memcpy(to + (c * rows + r) * size, from + (r * columns + c) * size, size);
}

}  // namespace

TensorRecipe TensorRecipe::whole(const std::string & name, TensorSourcePtr source, const TensorInfo & tensor) {
    return {name, tensor.shape, {{std::move(source), tensor.index, 0, row_count(tensor), nullptr}}, false};
}

MappedSource::MappedSource(std::string name, std::vector<TensorRecipe> recipes, std::string metadata_json)
    : recipes_(std::move(recipes)), metadata_(std::move(metadata_json)) {
    name_ = std::move(name);
    std::vector<TensorInfo> tensors;
    tensors.reserve(recipes_.size());
    for (const TensorRecipe & recipe : recipes_) tensors.push_back(describe(name_, recipe));
    set_tensors(std::move(tensors));
    std::set<TensorSourcePtr> sources;
    for (const TensorRecipe & recipe : recipes_) {
        for (const RowSlice & slice : recipe.rows) sources.insert(slice.source);
    }
    sources_.assign(sources.begin(), sources.end());
}

void MappedSource::check_files() const {
    for (const TensorSourcePtr & source : sources_) source->check_files();
}

Span<const uint8_t> MappedSource::view(const TensorInfo & tensor) const {
    const TensorRecipe & recipe = recipes_[tensor.index];
    if (recipe.transpose || recipe.rows.size() != 1 || is_scaled(recipe)) return {};
    const RowSlice & slice = recipe.rows[0];
    const TensorInfo & stored = tensor_of(slice);
    const Span<const uint8_t> bytes = slice.source->view(stored);
    if (bytes.empty()) return {};
    return bytes.subspan(static_cast<size_t>(row_bytes(stored)) * static_cast<size_t>(slice.begin),
                         static_cast<size_t>(tensor.bytes));
}

void MappedSource::read(const TensorInfo & tensor, void * destination) const {
    const TensorRecipe & recipe = recipes_[tensor.index];
    uint8_t * out = static_cast<uint8_t *>(destination);
    if (is_scaled(recipe)) return read_scaled_rows(recipe, static_cast<float *>(destination));
    std::vector<uint8_t> copy;
    for (size_t i = 0; i < recipe.rows.size(); ++i) {
        const RowSlice & slice = recipe.rows[i];
        const TensorInfo & stored = tensor_of(slice);
        if (is_whole(slice) && !recipe.transpose) {
            slice.source->read(stored, out);
            out += stored.bytes;
            continue;
        }
        Span<const uint8_t> bytes = slice.source->view(stored);
        const bool same_tensor = i > 0 && recipe.rows[i - 1].source == slice.source && recipe.rows[i - 1].index == slice.index;
        if (bytes.empty()) {
            if (!same_tensor || copy.empty()) {
                copy.resize(static_cast<size_t>(stored.bytes));
                slice.source->read(stored, copy.data());
            }
            bytes = copy;
        }
        if (recipe.transpose) {
            const size_t rows = static_cast<size_t>(stored.shape[0]), columns = static_cast<size_t>(stored.shape[1]);
            const size_t size = static_cast<size_t>(dtype_block_bytes(stored.dtype));
            transpose(bytes.data(), rows, columns, size, out);
            continue;
        }
        const size_t row = static_cast<size_t>(row_bytes(stored)), count = row * static_cast<size_t>(slice.end - slice.begin);
        if (count > 0) std::memcpy(out, bytes.data() + row * static_cast<size_t>(slice.begin), count);
        out += count;
    }
}

void MappedSource::read_scaled_rows(const TensorRecipe & recipe, float * out) const {
    std::vector<float> whole;
    for (size_t i = 0; i < recipe.rows.size(); ++i) {
        const RowSlice & slice = recipe.rows[i];
        const TensorInfo & stored = tensor_of(slice);
        const bool same_tensor = i > 0 && recipe.rows[i - 1].source == slice.source && recipe.rows[i - 1].index == slice.index;
        if (!same_tensor) whole.clear();
        const size_t count =
            static_cast<size_t>(stored.elements() / std::max<int64_t>(1, row_count(stored)) * (slice.end - slice.begin));
        if (recipe.transpose) {
            std::vector<float> rows(count);
            read_scaled(slice, whole, rows.data());
            transpose(reinterpret_cast<const uint8_t *>(rows.data()), static_cast<size_t>(stored.shape[0]),
                      static_cast<size_t>(stored.shape[1]), sizeof(float), reinterpret_cast<uint8_t *>(out));
        } else {
            read_scaled(slice, whole, out);
        }
        out += count;
    }
}

std::vector<FileRange> MappedSource::places(const TensorInfo & tensor) const {
    std::vector<FileRange> all;
    for (const RowSlice & slice : recipes_[tensor.index].rows) {
        const TensorInfo & stored = tensor_of(slice);
        std::vector<FileRange> places = slice.source->places(stored);
        if (!is_whole(slice) && places.size() == 1 && places[0].count == stored.bytes) {
            places[0].offset += row_bytes(stored) * static_cast<uint64_t>(slice.begin);
            places[0].count = row_bytes(stored) * static_cast<uint64_t>(slice.end - slice.begin);
        }
        for (FileRange & place : places) all.push_back(std::move(place));
    }
    return all;
}

}  // namespace latent::formats
