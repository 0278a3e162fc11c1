#include "formats/containers/sharded.h"

#include <map>

#include "core/json.h"
#include "core/path.h"
#include "formats/containers/bytes.h"

namespace latent::formats {

namespace {

constexpr uint64_t largest_index = uint64_t{16} << 20;
constexpr size_t most_shards = 1024;
constexpr int deepest_index = 8;

class ShardedSource : public TensorSource {
public:
    ShardedSource(const MappedFilePtr & index, const ShardOpener & open_shard) : folder_(parent_folder(index->path())) {
        name_ = file_name(index->path());
        const Json json = parse(index);
        const auto metadata = json.find("metadata");
        if (metadata != json.end() && metadata->is_object())
            metadata_ = metadata->dump(-1, ' ', false, Json::error_handler_t::replace);
        std::vector<TensorInfo> tensors;
        if (json.at("weight_map").size() > most_tensors) {
            broken(name_, "lists more than " + std::to_string(most_tensors) + " tensors");
        }
        for (const auto & entry : json.at("weight_map").items()) {
            if (!entry.value().is_string()) broken(name_, "\"" + shown(entry.key()) + "\" in weight_map is not a file name");
            const TensorSource & shard = shard_named(entry.value().get_ref<const std::string &>(), open_shard);
            const TensorInfo * tensor = shard.find(entry.key());
            if (!tensor) {
                broken(name_, "lists the tensor \"" + shown(entry.key()) + "\", which \"" + shard.name() + "\" does not hold");
            }
            tensors.push_back(*tensor);
            places_.push_back({&shard, tensor->index});
        }
        if (tensors.empty()) broken(name_, "lists no tensors");
        set_tensors(std::move(tensors));
    }

    Span<const uint8_t> view(const TensorInfo & tensor) const override { return shard_of(tensor).view(inside(tensor)); }
    void read(const TensorInfo & tensor, void * destination) const override {
        shard_of(tensor).read(inside(tensor), destination);
    }
    std::vector<FileRange> places(const TensorInfo & tensor) const override { return shard_of(tensor).places(inside(tensor)); }
    void check_files() const override {
        for (const auto & shard : shards_) shard.second->check_files();
    }
    std::string metadata_json() const override { return metadata_; }

private:
    struct Place {
        const TensorSource * shard;
        size_t index;
    };

    Json parse(const MappedFilePtr & index) const {
        if (index->size() > largest_index) broken(name_, "is too large for an index of shards");
        const std::string_view text(reinterpret_cast<const char *>(index->data()), static_cast<size_t>(index->size()));
        Json json = parse_json(text, name_, ErrorCode::model_format, deepest_index);
        const auto map = json.find("weight_map");
        if (!json.is_object() || map == json.end() || !map->is_object()) {
            broken(name_, "is a JSON file without a weight_map, not an index of weights");
        }
        return json;
    }

    const TensorSource & shard_named(const std::string & file, const ShardOpener & open_shard) {
        const auto known = shards_.find(file);
        if (known != shards_.end()) return *known->second;
        if (!is_plain_file_name(file)) {
            broken(name_, "names the shard \"" + shown(file) + "\", which is not a plain file name beside the index");
        }
        if (file == name_) broken(name_, "names itself as a shard");
        if (shards_.size() == most_shards) broken(name_, "names more than " + std::to_string(most_shards) + " shards");
        return *shards_.emplace(file, open_shard(join_path(folder_, file))).first->second;
    }

    const TensorSource & shard_of(const TensorInfo & tensor) const { return *places_.at(tensor.index).shard; }
    const TensorInfo & inside(const TensorInfo & tensor) const {
        const Place & place = places_.at(tensor.index);
        return place.shard->tensors()[place.index];
    }

    std::string folder_, metadata_ = "{}";
    std::map<std::string, TensorSourcePtr> shards_;
    std::vector<Place> places_;
};

}  // namespace

TensorSourcePtr open_sharded(const MappedFilePtr & index, const ShardOpener & open_shard) {
    return std::make_shared<ShardedSource>(index, open_shard);
}

}  // namespace latent::formats
