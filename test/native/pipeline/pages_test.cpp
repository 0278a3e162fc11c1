#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "pipeline/loaded.h"
#include "pipeline/stages.h"

// Which pages of the mapped file are read ahead when a model is loaded, and which are dropped while weights are streamed.

using namespace loaded;

namespace {

/// A file that notes the hints about its tensors.
class Watched final : public TensorSource {
public:
    explicit Watched(TensorSourcePtr file) : file_(std::move(file)) {
        name_ = file_->name();
        set_tensors(file_->tensors());
    }
    Span<const uint8_t> view(const TensorInfo & tensor) const override { return file_->view(own(tensor)); }
    void read(const TensorInfo & tensor, void * destination) const override { file_->read(own(tensor), destination); }
    void check_files() const override { file_->check_files(); }
    std::string metadata_json() const override { return file_->metadata_json(); }
    void advise(const TensorInfo & tensor, PageHint hint) const override {
        if (hint == PageHint::evict || hint == PageHint::release) ++dropped[tensor.name];
        if (hint == PageHint::evict) ++evicted[tensor.name];
        file_->advise(own(tensor), hint);
    }

    std::vector<FileRange> places(const TensorInfo & tensor) const override {
        asked.push_back(tensor.name);
        return file_->places(own(tensor));
    }

    mutable std::vector<std::string> asked;      // whose places were asked for, to read them ahead
    mutable std::map<std::string, int> dropped;  // how often, by name
    mutable std::map<std::string, int> evicted;  // those with the pages around them

private:
    const TensorInfo & own(const TensorInfo & tensor) const { return file_->tensors()[tensor.index]; }
    TensorSourcePtr file_;
};

LoadRequest request_for(const std::string & model) {
    LoadRequest request = exact_request();
    request.precision = Precision::fast;
    request.model = model;
    request.config = golden::load("sd1").config();
    return request;
}

struct Observed {
    std::shared_ptr<const Watched> file;
    Stages stages;

    explicit Observed(const LoadRequest & request) : Observed(request, *open_request(request)) {}

private:
    Observed(const LoadRequest & request, formats::OpenedModel opened)
        : file(std::make_shared<Watched>(opened.tensors)), stages(request, watched(opened), graph::Device::create("cpu", 1)) {}
    OpenedModelPtr watched(formats::OpenedModel & opened) const {
        opened.tensors = file;
        return std::make_shared<const formats::OpenedModel>(std::move(opened));
    }
};

Latents latents_of(const Stages & stages) {
    const std::array<int64_t, 4> shape = stages.latent_shape(64, 64, 1);
    return {shape, std::vector<float>(static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]), 0.1f)};
}

}  // namespace

TEST(loading_reads_the_weights_ahead) {
    golden::TempFolder folder;
    golden::WriteOptions options;
    options.f16 = true;  // norms and biases are converted, so they are copied
    LoadRequest request = request_for(golden::write_layout(golden::load("sd1"), "compvis", folder.path(), options));
    for (const char * memory : {"auto", "low"}) {
        request.memory = memory;
        Observed loaded(request);
        loaded.stages.residency.load({});
        std::set<std::string> all;
        for (const models::Network * network : loaded.stages.residency.parts()) {
            for (const auto & parameter : network->weights().parameters()) {
                if (parameter->present()) all.insert(parameter->name);
            }
        }
        const std::vector<std::string> & asked = loaded.file->asked;
        CHECK(asked.size() == all.size());
        CHECK(std::set<std::string>(asked.begin(), asked.end()) == all);
        // What load() copies, then the parts in the order of their use.
        const auto at = [&](const char * name) { return std::find(asked.begin(), asked.end(), name) - asked.begin(); };
        const auto text = at("cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight");
        const auto unet = at("model.diffusion_model.input_blocks.1.0.in_layers.2.weight");
        const auto decoder = at("first_stage_model.decoder.mid.block_1.conv1.weight");
        CHECK(at("first_stage_model.decoder.norm_out.weight") < text && text < unet && unet < decoder);
        CHECK(decoder < static_cast<std::ptrdiff_t>(asked.size()));
        // A bias may have mapped 2 MB.
        CHECK(loaded.file->evicted["first_stage_model.decoder.norm_out.weight"] == (request.memory == "low" ? 0 : 1));
        const TensorInfo & stored = *loaded.file->find("first_stage_model.decoder.norm_out.weight");
        const std::vector<FileRange> places = loaded.file->places(stored);
        CHECK(places.size() == 1 && places[0].count == stored.bytes);
        CHECK(std::memcmp(places[0].file->data() + places[0].offset, loaded.file->view(stored).data(), stored.bytes) == 0);
    }
}

TEST(a_decoder_keeps_the_weights_that_its_plan_has_room_for) {
    golden::TempFolder folder;
    LoadRequest request = request_for(golden::write_layout(golden::load("sd1"), "compvis", folder.path()));
    const Stages free(request, open_request(request), graph::Device::create("cpu", 1));
    const Latents latents = latents_of(free);
    const auto plan_of = [&](const Stages & stages) {
        return stages.first_stage->plan_decode(latents.shape[2], latents.shape[3], 1);
    };
    const StagePlan whole = plan_of(free);
    const graph::WeightStore & all = free.first_stage->network().weights();
    CHECK(all.least_bytes() < all.bytes());
    request.max_bytes = whole.held + whole.bytes - (all.bytes() - all.least_bytes()) / 2;

    Observed bounded(request);
    const graph::WeightStore & weights = bounded.stages.first_stage->network().weights();
    const StagePlan plan = plan_of(bounded.stages);
    const uint64_t streamed = weights.streamed_bytes(plan.weights.bytes);
    CHECK(plan.weights.streamed && streamed > 0 && streamed < weights.bytes() - weights.least_bytes());
    const std::vector<float> first = bounded.stages.first_stage->decode(latents, false, {}).data;
    bounded.file->dropped.clear();
    CHECK(bounded.stages.first_stage->decode(latents, false, {}).data == first);
    // The second image drops what it streams, as the first did, and nothing else.
    int streaming = 0;
    for (const auto & [name, times] : bounded.file->dropped) {
        const Parameter * parameter = weights.find(name);
        if (!parameter || !weights.streams(*parameter)) {
            check::fail("pages", 0, name + " was dropped " + std::to_string(times) + " times though it is kept");
        } else {
            ++streaming;
        }
    }
    CHECK(streaming > 0);
}

TEST(the_unet_gives_its_pages_back_for_a_preview) {
    for (const bool f16 : {false, true}) {  // a tiny autoencoder that is large enough to be streamed itself, and a smaller one
        golden::TempFolder folder;
        golden::WriteOptions options;
        options.f16 = f16;
        LoadRequest request = request_for(golden::write_layout(golden::load("sd1"), "compvis", folder.path()));
        golden::write_layout(golden::load("addon-taesd"), "pth", folder.path(), options);
        request.preview_vae = folder.path() + "/taesd_decoder.pth";
        const Stages free(request, open_request(request), graph::Device::create("cpu", 1));
        request.max_bytes = free.residency.bytes_with(free.denoiser->network()) - 1;

        Observed bounded(request);
        Stages & stages = bounded.stages;
        const Latents latents = latents_of(stages);
        const graph::WeightStore & weights = stages.denoiser->network().weights();
        stages.residency.use(stages.denoiser->network(), {});
        weights.touch();  // as a step does
        bounded.file->dropped.clear();
        CHECK(stages.preview_stage->decode(latents, true, {}).data.size() > 0);
        uint64_t dropped = 0;
        for (const auto & parameter : weights.parameters()) {
            if (bounded.file->dropped.count(parameter->name)) dropped += static_cast<uint64_t>(parameter->elements()) * 4;
        }
        CHECK(weights.mapped_bytes() > 0);
        CHECK(dropped >= weights.mapped_bytes());
    }
}
