// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulation/executable_symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace halfpipe::cuda_emulation {
namespace {

// In the names that the Itanium C++ ABI gives: _ZZ begins a static variable of a function.
constexpr std::string_view kLocalVariable = "_ZZN8halfpipe4cuda";

struct Symbols {
  std::map<std::uintptr_t, std::string> functions;  // by address in the file
  std::vector<SharedVariable> shared;
};

template <typename T>
T read_at(const std::vector<char>& file, std::size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

void add(const std::vector<char>& file, const Elf64_Shdr& table, Symbols& symbols) {
  const auto sections = read_at<Elf64_Ehdr>(file, 0).e_shoff;
  const auto names = read_at<Elf64_Shdr>(file, sections + table.sh_link * sizeof(Elf64_Shdr));
  for (std::size_t at = 0; at < table.sh_size; at += sizeof(Elf64_Sym)) {
    const auto symbol = read_at<Elf64_Sym>(file, table.sh_offset + at);
    const char* name = file.data() + names.sh_offset + symbol.st_name;
    const unsigned type = ELF64_ST_TYPE(symbol.st_info);
    if (type == STT_FUNC) symbols.functions.emplace(symbol.st_value, name);
    if (type == STT_TLS && std::string_view(name).starts_with(kLocalVariable)) {
      symbols.shared.push_back({symbol.st_value, symbol.st_size});
    }
  }
}

Symbols read_symbols() {
  std::ifstream stream("/proc/self/exe", std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(stream), {}};
  Symbols symbols;
  if (file.size() < sizeof(Elf64_Ehdr)) return symbols;
  const auto header = read_at<Elf64_Ehdr>(file, 0);
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const auto section = read_at<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type == SHT_SYMTAB) add(file, section, symbols);
  }
  return symbols;
}

const Symbols& symbols() {
  static const Symbols instance = read_symbols();
  return instance;
}

/// Calls visit(description) of the program itself, the first that the loader knows.
template <typename Visit>
void with_program(Visit visit) {
  dl_iterate_phdr(
      [](dl_phdr_info* program, std::size_t /*bytes*/, void* context) {
        (*static_cast<Visit*>(context))(*program);
        return 1;  // no more
      },
      &visit);
}

}  // namespace

std::string function_name(const void* function) {
  std::uintptr_t address = reinterpret_cast<std::uintptr_t>(function);
  with_program([&](const dl_phdr_info& program) { address -= program.dlpi_addr; });
  const auto at = symbols().functions.find(address);
  if (at == symbols().functions.end()) return fmt::format("at {}", function);
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(at->second.c_str(), nullptr, nullptr, &status), &std::free);
  return name == nullptr ? at->second : name.get();
}

std::span<const SharedVariable> shared_variables() {
  return symbols().shared;
}

std::byte* thread_local_storage() {
  void* begin = nullptr;
  with_program([&](const dl_phdr_info& program) { begin = program.dlpi_tls_data; });
  return static_cast<std::byte*>(begin);
}

}  // namespace halfpipe::cuda_emulation
