// The launchers of one operator for callers that are no C++: SIMT_OPERATOR is its name, as its argument structures
// begin.
//
// The operator's sizes and buffers come as two lists, in the order in which the functions `read` take them.
#include <fstream>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "request.hpp"
#include "simt.hpp"
#include "symbols.hpp"

namespace lite_rtse::cuda {
SIMT_DYNAMIC_SHARED(SIMT_DEFINE_DYNAMIC_SHARED)
}

namespace simt {
namespace {

using namespace lite_rtse;

class Reader {
 public:
  Reader(const Request& request, const std::vector<GuardedBuffer>& buffers) : request_(request), buffers_(buffers) {}
  DType dtype() const { return DType(request_.dtype); }
  template <class... Sizes>
  void sizes(Sizes&... sizes) {
    ((sizes = request_.sizes[next_size_++]), ...);
  }
  template <class... Pointers>
  void pointers(Pointers&... pointers) {
    ((pointers = buffers_[next_buffer_++].data()), ...);
  }
  template <class Pointer>
  void list(std::vector<Pointer>& pointers, int64_t count) {
    pointers.resize(size_t(count));
    for (Pointer& pointer : pointers) pointer = buffers_[next_buffer_++].data();
  }
  template <class Pointer>
  void list(Pointer* pointers, int64_t count) {
    for (int64_t i = 0; i < count; ++i) pointers[i] = buffers_[next_buffer_++].data();
  }
  bool all_read() const { return next_size_ == request_.sizes_count && next_buffer_ == size_t(request_.buffers_count); }

 private:
  const Request& request_;
  const std::vector<GuardedBuffer>& buffers_;
  int64_t next_size_ = 0;
  size_t next_buffer_ = 0;
};

[[maybe_unused]] void read(Reader& r, CausalDwconv2dArgs& a) {
  a.dtype = r.dtype();
  r.sizes(a.batch, a.channels, a.frames, a.bins, a.taps_t, a.taps_f, a.dilation);
  r.pointers(a.x, a.weight, a.bias, a.y);
}
[[maybe_unused]] void read(Reader& r, CausalDwconv2dBackwardArgs& a) {
  read(r, a.forward);
  r.pointers(a.dy, a.dx, a.dweight, a.dbias);
}

[[maybe_unused]] void read(Reader& r, ConvBlockArgs& a) {
  a.dtype = r.dtype();
  r.sizes(a.batch, a.in_channels, a.channels, a.frames, a.bins);
  r.pointers(a.x);
  r.list(a.weight, ConvBlockArgs::kParams), r.list(a.bias, ConvBlockArgs::kParams);
  r.pointers(a.y);
}
[[maybe_unused]] void read(Reader& r, ConvBlockBackwardArgs& a) {
  read(r, a.forward);
  r.pointers(a.dy, a.dx);
  r.list(a.dweight, ConvBlockArgs::kParams), r.list(a.dbias, ConvBlockArgs::kParams);
}

[[maybe_unused]] void read(Reader& r, MultiOrderConvArgs& a) {
  a.dtype = r.dtype(), a.threads = 1;
  r.sizes(a.batch, a.in_channels, a.channels, a.out_channels, a.order, a.frames, a.bins, a.taps);
  r.pointers(a.x);
  r.list(a.weight, 2 * a.order), r.list(a.bias, 2 * a.order);
  r.pointers(a.y);
}
[[maybe_unused]] void read(Reader& r, MultiOrderConvBackwardArgs& a) {
  read(r, a.forward);
  r.pointers(a.dy, a.dx);
  r.list(a.dweight, 2 * a.forward.order), r.list(a.dbias, 2 * a.forward.order);
}

void read(Reader& r, Spectrogram& s) { r.sizes(s.batch_stride, s.bin_stride, s.frame_stride, s.part_stride); }
[[maybe_unused]] void read(Reader& r, MaskResidualArgs& a) {
  a.dtype = r.dtype();
  r.sizes(a.batch, a.frames, a.bins);
  read(r, a.x), read(r, a.y);
  r.pointers(a.x.data, a.logit, a.res_mag, a.res_real, a.res_imag);
  void* y = nullptr;
  r.pointers(y);
  a.y.data = y;
}
[[maybe_unused]] void read(Reader& r, MaskResidualBackwardArgs& a) {
  read(r, a.forward);
  read(r, a.dy), read(r, a.dx);
  r.pointers(a.dy.data, a.dx.data, a.dlogit, a.dres_mag, a.dres_real, a.dres_imag);
}

[[maybe_unused]] void read(Reader& r, LstmRecurrenceArgs& a) {
  int64_t reverse = 0;
  a.dtype = r.dtype();
  r.sizes(a.batch, a.frames, a.units, reverse);
  a.reverse = reverse != 0;
  r.pointers(a.input, a.weight_hh, a.bias_ih, a.bias_hh, a.h0, a.c0, a.y, a.h, a.c, a.gates, a.cells);
}
[[maybe_unused]] void read(Reader& r, LstmRecurrenceBackwardArgs& a) {
  read(r, a.forward);
  r.pointers(a.dy, a.dh, a.dc, a.dz, a.before, a.dh0, a.dc0);
}

[[maybe_unused]] void read(Reader& r, GruRecurrenceArgs& a) {
  a.dtype = r.dtype();
  r.sizes(a.batch, a.frames, a.units, a.directions);
  r.list(a.input, a.directions), r.list(a.weight_hh, a.directions);
  r.list(a.bias_ih, a.directions), r.list(a.bias_hh, a.directions);
  r.pointers(a.h0, a.y, a.kept);
}
[[maybe_unused]] void read(Reader& r, GruRecurrenceBackwardArgs& a) {
  read(r, a.forward);
  r.pointers(a.dy);
  r.list(a.dinput, a.forward.directions), r.list(a.dstate, a.forward.directions);
  r.list(a.before, a.forward.directions);
  r.pointers(a.dh0);
}

[[maybe_unused]] void read(Reader& r, NormPreluArgs& a) {
  a.dtype = r.dtype(), a.eps = 1e-5;
  r.sizes(a.batch, a.channels, a.points, a.slopes);
  r.pointers(a.x, a.weight, a.bias, a.slope, a.mean, a.var, a.y, a.statistics);
}
[[maybe_unused]] void read(Reader& r, NormPreluBackwardArgs& a) {
  int64_t batch_statistics = 0;
  read(r, a.forward);
  r.sizes(batch_statistics);
  a.batch_statistics = batch_statistics != 0;
  r.pointers(a.dy, a.dx, a.dweight, a.dbias, a.dslope);
}

// One that is not the default, so that a launcher which forgets to pass it on is noticed.
cudaStream_t stream() {
  static char address;
  return reinterpret_cast<cudaStream_t>(&address);
}

template <class Arguments>
std::string launch(Request& request, std::vector<GuardedBuffer>& buffers) {
  Arguments arguments{};
  Reader reader(request, buffers);
  read(reader, arguments);
  if (!reader.all_read()) return "the request has more sizes or buffers than the operator";
  const size_t bytes = cuda::workspace(arguments, request.device);
  request.workspace_bytes = int64_t(bytes);
  buffers.emplace_back(Buffer{"workspace", nullptr, int64_t(bytes), Kind::output}, 0, request.execute);
  const cudaError_t error = cuda::launch(arguments, request.device, bytes ? buffers.back().data() : nullptr, stream());
  if (!report().empty()) return report() + (error ? "" : " (which the launcher did not return)");
  return error ? "the launcher returned error " + std::to_string(int(error)) : "";
}

std::string run(Request& request) {
  configure({.shared_opt_in = size_t(request.device.shared_per_block),
             .multiprocessors = unsigned(request.device.multiprocessors),
             .cluster_blocks = request.device.sm >= 90 && !request.device.without_clusters ? 8u : 1u},
            {.seed = request.seed, .stream = stream(), .execute = request.execute != 0});
  std::vector<GuardedBuffer> buffers;
  for (int64_t i = 0; i < request.buffers_count; ++i)
    buffers.emplace_back(request.buffers[i], request.shift, request.execute);
#define SIMT_CONCATENATE(a, b) a##b
#define SIMT_ARGUMENTS(name, part) SIMT_CONCATENATE(name, part)
  std::string fault = request.backward ? launch<SIMT_ARGUMENTS(SIMT_OPERATOR, BackwardArgs)>(request, buffers)
                                       : launch<SIMT_ARGUMENTS(SIMT_OPERATOR, Args)>(request, buffers);
  for (GuardedBuffer& buffer : buffers)
    if (const std::string misuse = buffer.check(); fault.empty()) fault = misuse;
  if (fault.empty())
    for (GuardedBuffer& buffer : buffers) buffer.copy_out();
  return fault;
}

// A request in a file: its numbers as 64-bit words, then for each buffer kind, bytes, name; then the buffers' contents.
std::string run_file(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto word = [&] {
    int64_t value = 0;
    file.read(reinterpret_cast<char*>(&value), sizeof(value));
    return value;
  };
  Request request{};
  request.backward = int32_t(word()), request.dtype = int32_t(word());
  auto& d = request.device;
  for (int* limit : {&d.sm, &d.multiprocessors, &d.shared_per_block, &d.shared_per_sm, &d.registers_per_sm,
                     &d.threads_per_sm, &d.blocks_per_sm, &d.without_clusters})
    *limit = int(word());
  request.seed = uint64_t(word()), request.shift = int32_t(word()), request.execute = 1;
  std::vector<int64_t> sizes(static_cast<size_t>(word()));
  for (int64_t& size : sizes) size = word();
  std::vector<Buffer> buffers(static_cast<size_t>(word()));
  std::vector<std::string> names(buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    buffers[i].kind = Kind(word()), buffers[i].bytes = word();
    names[i].resize(size_t(word()));
    file.read(names[i].data(), int64_t(names[i].size()));
    buffers[i].name = names[i].c_str();
  }
  const auto contents_begin = file.tellg();
  int64_t total = 0;
  for (const Buffer& buffer : buffers) total += buffer.bytes;
  std::vector<char> contents(size_t(total) + 1);
  file.read(contents.data(), total);
  if (!file) return "the request file is incomplete";
  char* next = contents.data();
  for (Buffer& buffer : buffers) buffer.data = next, next += buffer.bytes;
  request.sizes_count = int64_t(sizes.size()), request.sizes = sizes.data();
  request.buffers_count = int64_t(buffers.size()), request.buffers = buffers.data();
  const std::string fault = run(request);
  file.seekp(contents_begin);
  file.write(contents.data(), total);
  return fault;
}

std::string& last_fault() {
  static std::string fault;
  return fault;
}

}  // namespace
}  // namespace simt

// Each returns what went wrong, or an empty text.
extern "C" const char* simt_run(simt::Request* request) { return (simt::last_fault() = simt::run(*request)).c_str(); }
extern "C" const char* simt_run_file(const char* path) { return (simt::last_fault() = simt::run_file(path)).c_str(); }

// Writes the launches of the last run to `records`, `most` of them; returns how many there were.
extern "C" int64_t simt_launches(simt::LaunchRecord* records, int64_t most) {
  const auto& launches = simt::launches();
  for (int64_t i = 0; i < std::min(most, int64_t(launches.size())); ++i) {
    const simt::Launch& l = launches[size_t(i)];
    simt::LaunchRecord& r = records[i];
    r = {{},
         {l.grid.x, l.grid.y, l.grid.z},
         {l.block.x, l.block.y, l.block.z},
         int64_t(l.shared_bytes),
         int64_t(l.static_shared_bytes),
         int64_t(l.cluster)};
    simt::kernel_name(l.kernel).copy(r.kernel, sizeof(r.kernel) - 1);
  }
  return int64_t(launches.size());
}
