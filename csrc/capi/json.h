// A reader of JSON texts (RFC 8259) that come from outside. Numbers keep their text. Names in an object are unique.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lite_rtse::capi {

struct Json {
  enum class Kind { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  std::string text;         // of a string; of a number or a boolean as it is written
  std::vector<Json> items;  // of an array; the values of an object
  std::vector<std::string> names;

  bool is(Kind wanted) const { return kind == wanted; }
  // The value of that name in an object; null if there is none, or if this is no object.
  const Json* find(std::string_view name) const;
  // The number, if it is one that a double can hold. It does not depend on the program's locale.
  std::optional<double> number() const;
  // The number, if it is an integer from 0 to INT64_MAX.
  std::optional<int64_t> count() const;
};

class JsonError : public std::invalid_argument {
  using invalid_argument::invalid_argument;
};

// Reads one value, with nothing but space after it. Throws JsonError.
Json parse_json(std::string_view text);

}  // namespace lite_rtse::capi
