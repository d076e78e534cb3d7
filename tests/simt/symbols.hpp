// What the library's own symbol table says about a kernel.
#pragma once

#include <cstddef>
#include <string>

namespace simt {

// Whether the library's file still has its name: a kernel of a stripped library has none.
bool is_known(const void* kernel);
// Without parameters: "lite_rtse::cuda::reduce_rows<float>".
std::string kernel_name(const void* kernel);
// Bytes of the shared arrays of fixed size that the kernel itself declares. Those of functions that it calls belong to
// the functions' names, and are not counted.
size_t static_shared_bytes(const void* kernel);

}  // namespace simt
