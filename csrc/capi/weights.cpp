#include "weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "json.h"

namespace lite_rtse::capi {
namespace {

static_assert(std::endian::native == std::endian::little, "the numbers of a safetensors file are little-endian");

constexpr size_t kLengthBytes = 8;
constexpr size_t kMostHeaderBytes = size_t(1)
                                    << 20;  // that of a network takes 10 KiB; a value takes 100 times its text
constexpr const char* kArchitecture = "lite-rtse";

[[noreturn]] void damaged(const std::string& what) { throw FormatError("damaged safetensors file: " + what); }
[[noreturn]] void other(const std::string& what) { throw std::invalid_argument(what); }

float half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float size = exponent == 0 ? std::ldexp(float(mantissa), -24) : std::ldexp(float(mantissa + 1024), exponent - 25);
  if (exponent == 31)
    size = mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return bits & 0x8000 ? -size : size;
}
float brain(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
// Beyond the range of float it gives infinity (IEC 60559), which the engine rejects by the array's name.
float narrow(double x) { return float(x); }
float same(float x) { return x; }
float whole(int16_t x) { return x; }

template <class T, float (*Convert)(T)>
void convert(const char* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * int64_t(sizeof(T)), sizeof(T));
    to[i] = Convert(value);
  }
}

struct DataType {
  const char* name;
  int64_t bytes;
  void (*convert)(const char* from, int64_t count, float* to);
};
constexpr const char *kWhole = "I16", *kScale = ".scale";
constexpr DataType kTypes[] = {{"F16", 2, convert<uint16_t, half>},
                               {"F32", 4, convert<float, same>},
                               {"F64", 8, convert<double, narrow>},
                               {"BF16", 2, convert<uint16_t, brain>},
                               {kWhole, 2, convert<int16_t, whole>}};

struct Tensor {
  std::string name;
  const DataType* type;
  std::vector<int64_t> shape;
  int64_t begin, end;  // in the data
  int64_t size() const { return (end - begin) / type->bytes; }
};

std::vector<int64_t> counts(const Json* list, const std::string& what) {
  if (!list || !list->is(Json::Kind::array)) damaged(what + " is no list");
  std::vector<int64_t> result;
  for (const Json& item : list->items) {
    const auto count = item.count();
    if (!count) damaged(what + " holds something else than integers from 0 up");
    result.push_back(*count);
  }
  return result;
}

const DataType& type_of(const Json& entry, const std::string& name) {
  const Json* type = entry.find("dtype");
  if (!type || !type->is(Json::Kind::string)) damaged(name + " has no dtype");
  for (const DataType& known : kTypes)
    if (type->text == known.name) return known;
  other(name + " must be one of F16, F32, F64, BF16, I16, but is " + type->text);
}

Tensor tensor(const std::string& name, const Json& entry, int64_t data_bytes) {
  if (!entry.is(Json::Kind::object) || entry.items.size() != 3) damaged(name + " is no tensor");
  const std::vector<int64_t> offsets = counts(entry.find("data_offsets"), "data_offsets of " + name);
  Tensor t{name, &type_of(entry, name), counts(entry.find("shape"), "shape of " + name), 0, 0};
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_bytes)
    damaged("data_offsets of " + name + " lie outside the file");
  t.begin = offsets[0], t.end = offsets[1];
  int64_t bytes = t.type->bytes;
  for (int64_t size : t.shape)
    if (__builtin_mul_overflow(bytes, size, &bytes)) damaged("shape of " + name + " is too large");
  if (bytes != t.end - t.begin) damaged("shape of " + name + " does not match its bytes");
  return t;
}

// Every byte of the data belongs to one tensor.
void check_cover(const std::vector<Tensor>& tensors, int64_t data_bytes) {
  std::multimap<std::pair<int64_t, int64_t>, const Tensor*> in_order;  // by begin and end
  for (const Tensor& t : tensors) in_order.emplace(std::pair(t.begin, t.end), &t);
  int64_t end = 0;
  for (const auto& [range, t] : in_order) {
    if (t->begin != end) damaged("there is a gap or an overlap before " + t->name);
    end = t->end;
  }
  if (end != data_bytes) damaged("the data end elsewhere than the tensors, or the file was cut");
}

// What an entry of the metadata says in JSON; null where it is not JSON.
Json entry_value(const Json& entry) {
  try {
    return parse_json(entry.text);
  } catch (const JsonError&) {
    return {};
  }
}

stream::MinGain min_gain(const Json& metadata) {
  const Json* text = metadata.find("min_gain");
  if (!text) return {};
  const Json list = entry_value(*text);
  const size_t count = list.is(Json::Kind::array) ? list.items.size() : 0;
  double numbers[3] = {};
  for (size_t i = 0; i < std::min<size_t>(count, 3); ++i) numbers[i] = list.items[i].number().value_or(-1);
  return stream::min_gain(numbers, count);
}

stream::Options options(const Json& metadata) {
  stream::Options result;
  result.min_gain = min_gain(metadata);
  const Json* text = metadata.find("config");
  if (!text) return result;
  const Json config = entry_value(*text);
  if (!config.is(Json::Kind::object)) other("config: expected a JSON object, got " + text->text.substr(0, 40));
  if (const Json* compression = config.find("compression")) {
    const auto number = compression->number();
    if (!number) other("config: expected a number as compression");
    result.compression = float(*number);
  }
  if (const Json* branch = config.find("mask_branch")) {
    if (!branch->is(Json::Kind::boolean)) other("config: expected true or false as mask_branch");
    result.mask_branch = branch->text == "true";
  }
  return result;
}

stream::Options read_metadata(const Json* metadata) {
  if (!metadata || metadata->is(Json::Kind::null)) return {};
  if (!metadata->is(Json::Kind::object)) damaged("__metadata__ is no object");
  for (const Json& item : metadata->items)
    if (!item.is(Json::Kind::string)) damaged("__metadata__ holds something else than strings");
  const Json* architecture = metadata->find("architecture");
  if (architecture && architecture->text != kArchitecture)
    other(std::string("expected a checkpoint of ") + kArchitecture + ", got one of " + architecture->text);
  return options(*metadata);
}

// Whole numbers are multiples of their row's scale. The scales are an array of their own.
void scale_rows(const Tensor& t, std::map<std::string, stream::Array>& arrays, float* values) {
  const auto scale = arrays.find(t.name + kScale);
  const int64_t rows = t.shape.empty() ? 0 : t.shape[0];
  if (scale == arrays.end()) other(t.name + " is I16, but " + t.name + kScale + " is missing");
  if (scale->second.shape != std::vector<int64_t>{rows})
    other(scale->first + " must have one number for each row of " + t.name);
  const int64_t columns = rows > 0 ? t.size() / rows : 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < columns; ++i) values[r * columns + i] *= scale->second.data[r];
  arrays.erase(scale);
}

Json read_header(std::string_view bytes, std::string_view& data) {
  uint64_t length = 0;
  if (bytes.size() > kLengthBytes) std::memcpy(&length, bytes.data(), kLengthBytes);
  if (bytes.size() <= kLengthBytes || bytes[kLengthBytes] != '{') throw FormatError("not a safetensors file");
  if (length > kMostHeaderBytes) damaged("a header of " + std::to_string(length) + " bytes, 1048576 and more");
  if (length > bytes.size() - kLengthBytes) damaged("the file ends within its header");
  data = bytes.substr(kLengthBytes + length);
  try {
    return parse_json(bytes.substr(kLengthBytes, length));
  } catch (const JsonError& error) {
    damaged(error.what());
  }
}

}  // namespace

Weights read_weights(std::string_view bytes) {
  if (bytes.size() > kMostBytes)
    other("larger than any network that streams, " + std::to_string(kMostBytes >> 20) + " MiB and more");
  std::string_view data;
  const Json header = read_header(bytes, data);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < header.items.size(); ++i)
    if (header.names[i] != "__metadata__")
      tensors.push_back(tensor(header.names[i], header.items[i], int64_t(data.size())));
  check_cover(tensors, int64_t(data.size()));

  Weights result;
  result.options = read_metadata(header.find("__metadata__"));
  for (const Tensor& t : tensors) {
    auto& values = result.storage.emplace_back(new float[size_t(t.size())]);
    t.type->convert(data.data() + t.begin, t.size(), values.get());
    result.arrays[t.name] = {values.get(), t.shape};
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].type->name == kWhole) scale_rows(tensors[i], result.arrays, result.storage[i].get());
  return result;
}

}  // namespace lite_rtse::capi
