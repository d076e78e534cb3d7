#include "symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <vector>

namespace simt {
namespace {

struct Symbols {
  std::map<uintptr_t, std::string> functions;          // mangled, by address
  std::map<std::string, size_t> thread_local_objects;  // mangled, with their sizes
};

template <class T>
const T* at(const std::vector<char>& file, size_t offset) {
  return reinterpret_cast<const T*>(file.data() + offset);
}

void add_section(Symbols& symbols, const std::vector<char>& file, const ElfW(Shdr) & section, const char* names,
                 uintptr_t base) {
  const auto* symbol = at<ElfW(Sym)>(file, section.sh_offset);
  for (const auto* end = symbol + section.sh_size / sizeof(*symbol); symbol < end; ++symbol) {
    const unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if (type == STT_FUNC) symbols.functions[base + symbol->st_value] = names + symbol->st_name;
    if (type == STT_TLS) symbols.thread_local_objects[names + symbol->st_name] = symbol->st_size;
  }
}

// From the library's file: the table that is loaded into memory lacks what is not exported.
Symbols read_symbols() {
  Symbols symbols;
  Dl_info info{};
  static const int in_library = 0;
  if (!dladdr(&in_library, &info)) return symbols;
  std::ifstream stream(info.dli_fname, std::ios::binary);
  const std::vector<char> file(std::istreambuf_iterator<char>(stream), {});
  if (file.size() < sizeof(ElfW(Ehdr)) || std::memcmp(file.data(), ELFMAG, SELFMAG) != 0) return symbols;
  const auto* header = at<ElfW(Ehdr)>(file, 0);
  const auto* sections = at<ElfW(Shdr)>(file, header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i)
    if (sections[i].sh_type == SHT_SYMTAB)
      add_section(symbols, file, sections[i], at<char>(file, sections[sections[i].sh_link].sh_offset),
                  reinterpret_cast<uintptr_t>(info.dli_fbase));
  return symbols;
}

const Symbols& symbols() {
  static const Symbols& found = *new Symbols(read_symbols());
  return found;
}

std::string mangled_name(const void* kernel) {
  const auto found = symbols().functions.find(reinterpret_cast<uintptr_t>(kernel));
  return found == symbols().functions.end() ? "" : found->second;
}

// Where the parameters of "void name<arguments>(parameters)" begin.
size_t parameters_begin(const std::string& name) {
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    depth += name[i] == ')' ? 1 : name[i] == '(' ? -1 : 0;
    if (depth == 0) return i;
  }
  return name.size();
}

}  // namespace

bool is_known(const void* kernel) { return mangled_name(kernel).starts_with("_Z"); }

std::string kernel_name(const void* kernel) {
  int status = 0;
  const std::unique_ptr<char, decltype(&free)> full(
      abi::__cxa_demangle(mangled_name(kernel).c_str(), nullptr, nullptr, &status), free);
  if (status != 0) return "a kernel";
  std::string name = full.get();
  name.resize(parameters_begin(name));
  return name.starts_with("void ") ? name.substr(5) : name;
}

// By the C++ ABI a static variable of the function _Z… is named _ZZ…E and then its own name.
size_t static_shared_bytes(const void* kernel) {
  const std::string name = mangled_name(kernel);
  if (!name.starts_with("_Z")) return 0;
  const std::string prefix = "_Z" + name.substr(1) + "E";
  size_t bytes = 0;
  const auto& objects = symbols().thread_local_objects;
  for (auto object = objects.lower_bound(prefix); object != objects.end() && object->first.starts_with(prefix);
       ++object)
    bytes += object->second;
  return bytes;
}

}  // namespace simt
