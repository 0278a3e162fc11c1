#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "allocation_meter.h"
#include "check.h"
#include "fixtures.h"
#include "formats/open.h"
#include "temp_folder.h"

using namespace latent;

// Thousands of damaged files, the same ones in every run. Whatever they are, opening and reading them ends in tensors or in a
// latent::Error; the sanitizer build shows whether it was clean. LATENT_MUTANTS multiplies the number.

namespace {

class Random {  // splitmix64
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    size_t below(size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(next() % bound); }

private:
    uint64_t state_;
};

void put(std::string & file, size_t at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width && at + i < file.size(); ++i) file[at + i] = static_cast<char>(value >> (8 * i));
}

uint64_t get(const std::string & file, size_t at, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width && at + i < file.size(); ++i) value |= uint64_t{static_cast<uint8_t>(file[at + i])} << (8 * i);
    return value;
}

void flip_bits(std::string & file, Random & random) {
    for (size_t n = 1 + random.below(8); n > 0; --n) file[random.below(file.size())] ^= static_cast<char>(1 << random.below(8));
}

/// Headers and directories lie at the ends, so places near them are hit more often.
size_t some_place(const std::string & file, Random & random) {
    const size_t near = std::min<size_t>(file.size(), 512);
    switch (random.below(3)) {
        case 0: return random.below(near);
        case 1: return file.size() - 1 - random.below(near);
        default: return random.below(file.size());
    }
}

void edit_length(std::string & file, Random & random) {
    static const uint64_t lengths[] = {0,
                                       1,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       uint64_t{1} << 40,
                                       uint64_t{1} << 62,
                                       uint64_t{1} << 63,
                                       UINT64_MAX,
                                       UINT64_MAX - 7};
    const size_t width = size_t{1} << random.below(4), at = some_place(file, random);
    const size_t choice = random.below(18);
    put(file, at, choice < 14 ? lengths[choice] : get(file, at, width) + random.below(17) - 8, width);
}

void edit_text(std::string & file, Random & random) {
    static const char characters[] = "0123456789-.e,:[]{}\"\\/ \n\x80\xff";
    for (size_t n = 1 + random.below(3); n > 0; --n)
        file[some_place(file, random)] = characters[random.below(sizeof characters - 1)];
}

void splice(std::string & file, const std::string & other, Random & random) {
    const size_t from = random.below(other.size()), count = 1 + random.below(std::min<size_t>(other.size() - from, 256));
    const size_t at = some_place(file, random);
    if (random.below(2)) {
        file.replace(at, std::min(count, file.size() - at), other, from, count);
    } else {
        file.insert(at, other, from, count);
    }
}

void mutate(std::string & file, const std::string & other, Random & random) {
    for (size_t n = 1 + random.below(3); n > 0 && !file.empty(); --n) {
        switch (random.below(7)) {
            case 0: flip_bits(file, random); break;
            case 1: file[some_place(file, random)] = static_cast<char>(random.next()); break;
            case 2: file.resize(some_place(file, random)); break;
            case 3: edit_length(file, random); break;
            case 4: splice(file, other, random); break;
            case 5: file.erase(some_place(file, random), 1 + random.below(64)); break;
            default: edit_text(file, random); break;
        }
    }
}

struct Tally {
    int opened = 0, refused = 0;
};

void try_mutant(const std::string & path, uint64_t bytes, const std::string & label, Tally & tally) {
    begin_allocation_meter();
    try {
        read_everything(*formats::open_model_file(path));
        ++tally.opened;
    } catch (const Error & error) {
        ++tally.refused;
        if (error.code() != ErrorCode::model_format && error.code() != ErrorCode::io) check::fail(label.c_str(), 0, error.what());
    } catch (const std::exception & error) {
        check::fail(label.c_str(), 0, std::string("not a latent::Error: ") + error.what());
    }
    // A tensor may be expanded to 1 MB; read_everything holds it as bytes and as floats.
    if (peak_allocation() > 128 * bytes + (size_t{16} << 20)) {
        check::fail(label.c_str(), 0, "allocated " + std::to_string(peak_allocation()) + " bytes");
    }
}

int rounds(int usual) {
    const char * factor = std::getenv("LATENT_MUTANTS");
    return factor ? usual * std::max(1, std::atoi(factor)) : usual;
}

void run_mutants(const std::vector<std::string> & seeds, const std::string & file_name, const TempFolder & folder, int count) {
    for (size_t s = 0; s < seeds.size(); ++s) {
        const std::string original = fixture_bytes(seeds[s]);
        const std::string other = fixture_bytes(seeds[(s + 1) % seeds.size()]);
        Random random(0x1a7e47 + s);
        Tally tally;
        for (int i = 0; i < count; ++i) {
            std::string mutant = original;
            mutate(mutant, other, random);
            try_mutant(folder.write(file_name, mutant), mutant.size(), seeds[s] + " mutant " + std::to_string(i), tally);
        }
        // Some must pass and some must fail, or the mutations miss the point.
        if (tally.opened == 0 || tally.refused == 0)
            check::fail(seeds[s].c_str(), 0, "one-sided: " + std::to_string(tally.opened));
    }
}

}  // namespace

TEST(mutated_safetensors) {
    const TempFolder folder;
    run_mutants({"order.safetensors", "odd-header.safetensors", "float8.safetensors", "mixed.safetensors"}, "model.safetensors",
                folder, rounds(500));
}

TEST(mutated_gguf) {
    const TempFolder folder;
    run_mutants({"small.gguf"}, "model.gguf", folder, rounds(1500));
}

TEST(mutated_torch_zip) {
    const TempFolder folder;
    run_mutants({"handmade.pth", "strides.ckpt", "dtypes.pth", "textual-inversion-paramdict.pt", "lightning-protocol4.ckpt",
                 "big-endian.ckpt"},
                "model.ckpt", folder, rounds(500));
}

TEST(mutated_torch_legacy) {
    const TempFolder folder;
    run_mutants({"strides-legacy.ckpt", "legacy-half.ckpt"}, "model.ckpt", folder, rounds(750));
}

TEST(mutated_index) {
    const TempFolder folder;
    for (const char * shard : {"1", "2"}) {
        const std::string name = std::string("diffusion_pytorch_model-0000") + shard + "-of-00002.safetensors";
        folder.write(name, fixture_bytes("sharded/unet/" + name));
    }
    run_mutants({"sharded/unet/diffusion_pytorch_model.safetensors.index.json"}, "model.safetensors.index.json", folder,
                rounds(1000));
}
