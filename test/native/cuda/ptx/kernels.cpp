#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "ptx/machine.h"

// With LATENT_PTX=FOLDER in the environment, kernels are run from the .ptx files there, in place of the code of this program.

namespace latent_ptx {
namespace {

std::string contents(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot be read: " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Functions of a program or library by their addresses in it, also those that are not exported.
std::map<uint64_t, std::string> functions_of(const std::string & path, const void * loaded) {
    const std::string file = contents(path);
    const auto at = [&](uint64_t offset, uint64_t bytes) {
        if (offset + bytes > file.size()) fail("cut off: " + path);
        return file.data() + offset;
    };
    const auto * header = reinterpret_cast<const Elf64_Ehdr *>(at(0, sizeof(Elf64_Ehdr)));
    const auto * sections = reinterpret_cast<const Elf64_Shdr *>(at(header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr)));
    std::map<uint64_t, std::string> all;
    for (int i = 0; i < header->e_shnum; ++i) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const Elf64_Shdr & names = sections[sections[i].sh_link];
        const auto * symbols = reinterpret_cast<const Elf64_Sym *>(at(sections[i].sh_offset, sections[i].sh_size));
        // Those of a program that is not relocated say where they are.
        const uint64_t base = header->e_type == ET_EXEC ? reinterpret_cast<uint64_t>(loaded) : 0;
        for (uint64_t n = 0; n < sections[i].sh_size / sizeof(Elf64_Sym); ++n) {
            if (ELF64_ST_TYPE(symbols[n].st_info) == STT_FUNC)
                all[symbols[n].st_value - base] = at(names.sh_offset + symbols[n].st_name, 1);
        }
    }
    return all;
}

/// Both compilers name templates and types alike, but not anonymous namespaces: "58_GLOBAL__N__843eb8df_19_..." has 58 characters
/// after the number.
std::string common_name(std::string mangled) {
    for (size_t at = mangled.find("_GLOBAL__N__"); at != std::string::npos; at = mangled.find("_GLOBAL__N__")) {
        size_t number = at;
        while (number > 0 && std::isdigit(static_cast<unsigned char>(mangled[number - 1]))) --number;
        mangled.replace(number, at - number + std::stoul(mangled.substr(number)), "12_GLOBAL__N_1");
    }
    return mangled;
}

std::string name_of(const void * kernel) {
    Dl_info info;
    if (!dladdr(kernel, &info)) fail("a kernel of no program");
    static std::map<std::string, std::map<uint64_t, std::string>> programs;
    const auto [found, added] = programs.try_emplace(info.dli_fname);
    if (added) found->second = functions_of(info.dli_fname, info.dli_fbase);
    const auto offset = static_cast<uint64_t>(static_cast<const char *>(kernel) - static_cast<const char *>(info.dli_fbase));
    const auto function = found->second.find(offset);
    if (function == found->second.end()) fail("a kernel without a name");
    return function->second;
}

class Kernels {
public:
    explicit Kernels(const std::string & folder) {
        for (const auto & entry : std::filesystem::directory_iterator(folder)) {
            if (entry.path().extension() != ".ptx") continue;
            for (Kernel & kernel : parse(contents(entry.path().string()))) {
                const std::string name = common_name(kernel.name);
                std::unique_ptr<Kernel> & known = by_name_[name];
                if (known && !same(*known, kernel)) fail("two kernels of the name " + name);
                known = std::make_unique<Kernel>(std::move(kernel));
            }
        }
        if (by_name_.empty()) fail("no kernels in " + folder);
    }

    const Kernel & at(const void * address) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const Kernel *& found = by_address_[address];
        if (!found) {
            const std::string name = common_name(name_of(address));
            const auto kernel = by_name_.find(name);
            if (kernel == by_name_.end()) fail("no PTX of " + name);
            found = kernel->second.get();
        }
        return *found;
    }

private:
    static bool same(const Kernel & a, const Kernel & b) {
        // The names of labels, parameters and shared memory differ.
        const auto text = [](const Instruction & i) { return i.text.substr(0, std::min(i.text.find("_ZN"), i.text.find("$L"))); };
        const auto equal = [&](const Instruction & x, const Instruction & y) {
            return text(x) == text(y) && x.target == y.target;
        };
        return std::equal(a.code.begin(), a.code.end(), b.code.begin(), b.code.end(), equal);
    }

    std::mutex mutex_;
    std::map<std::string, std::unique_ptr<Kernel>> by_name_;
    std::map<const void *, const Kernel *> by_address_;
};

}  // namespace
}  // namespace latent_ptx

namespace latent_host {

const Emulator & emulator() {
    static const Emulator chosen = []() -> Emulator {
        const char * folder = std::getenv("LATENT_PTX");
        if (!folder) return {};
        const auto kernels = std::make_shared<latent_ptx::Kernels>(folder);
        return
            [kernels](const void * kernel, dim3 grid, int threads, size_t shared, const std::vector<unsigned char> & parameters) {
                latent_ptx::run_grid(kernels->at(kernel), grid, threads, shared, parameters);
            };
    }();
    return chosen;
}

}  // namespace latent_host
