// Weights in the safetensors format: from bytes that come from outside to what the engine takes.
//
// The format: 8 bytes with the length of the header, the header, the data. The header is a JSON object. Every entry is
// a tensor: its dtype, its shape, and the begin and end of its bytes in the data. The entry __metadata__ holds strings.
// Two of them are JSON themselves: config, an object, and min_gain, a list of two or three numbers.
//
// A matrix NAME may be stored as I16, with the scales of its rows as NAME.scale. A weight is its number times the scale
// of its row.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../stream/network.h"

namespace lite_rtse::capi {

inline constexpr size_t kMostBytes = size_t(256) << 20;  // the largest network, 1024 channels in float64, takes 76 MiB

// The bytes are no safetensors file, or a damaged one. Weights of another network are a std::invalid_argument.
class FormatError : public std::runtime_error {
  using runtime_error::runtime_error;
};

struct Weights {
  std::map<std::string, stream::Array> arrays;
  stream::Options options;
  std::vector<std::unique_ptr<float[]>> storage;  // what the arrays point to
};

// Checks every length, offset and type. The engine checks names, shapes and values.
Weights read_weights(std::string_view bytes);

}  // namespace lite_rtse::capi
