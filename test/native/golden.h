#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor_source.h"

// Golden cases (test/fixtures/models): checkpoint files made from their formula, inputs and expected numbers.
namespace golden {

/// A case of test/fixtures/models, e.g. load("sd1").
struct Case {
    std::string name;
    const latent::Json & json;  // read once, kept to the end
    const latent::Json & config() const { return json.at("config"); }
};
Case load(const std::string & name);

/// A folder of its own under the system's temporary folder, removed with everything in it by the destructor.
class TempFolder {
public:
    TempFolder();
    ~TempFolder();
    TempFolder(const TempFolder &) = delete;
    TempFolder & operator=(const TempFolder &) = delete;
    const std::string & path() const { return path_; }
    std::string operator/(const std::string & name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

struct WriteOptions {
    bool f16 = false;   // every F32 tensor is rounded to F16
    bool bf16 = false;  // ... to BF16
    /// Files that are not called .safetensors, as torch.save writes them; tensors that share storages do so there.
    enum Container { safetensors, torch_zip, torch_legacy } container = safetensors;
};

/// Writes the files of a layout ("compvis", "diffusers" ...) below `folder` under their own names; tensors as safetensors
/// whatever the name ends in, unless `options` says otherwise. Returns the path of the single file, or `folder` when there are
/// several.
std::string write_layout(const Case & c, const std::string & layout, const std::string & folder,
                         const WriteOptions & options = {});

/// One tensor of a case, values widened to float32 (token ids are exact).
struct Values {
    std::vector<int64_t> shape;
    std::vector<float> data;
    double atol = 0;  // expected values only
    int stride = 1;   // every n-th row and column was kept
};

Values input(const Case & c, const std::string & name);
Values expected(const Case & c, const std::string & name);
/// A tensor of a layout's file, by its key there.
Values weight(const Case & c, const std::string & layout, const std::string & key);
/// Keys and shapes of all tensors of a layout.
std::vector<latent::TensorInfo> keys(const Case & c, const std::string & layout);

/// Writes tensors as one safetensors file. `bytes` of each info must match its data.
struct FileTensor {
    std::string name;
    latent::DType dtype = latent::DType::f32;
    std::vector<int64_t> shape;
    std::vector<uint8_t> data;
};
void write_safetensors(const std::string & path, const std::vector<FileTensor> & tensors,
                       const latent::Json & metadata = latent::Json());

/// Changes one float32 number of a safetensors file, at `index` of a tensor.
void poke(const std::string & path, const std::string & name, size_t index, float value);

/// A float32 FileTensor with formula values.
FileTensor formula_tensor(const std::string & name, std::vector<int64_t> shape, uint32_t seed = 0, double scale = 1.0);

}  // namespace golden
