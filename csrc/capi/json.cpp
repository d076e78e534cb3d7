#include "json.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>

namespace lite_rtse::capi {
namespace {

constexpr int kMostDepth = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = any(0);
    skip_space();
    if (at_ != text_.size()) fail("the end");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* expected) const {
    std::string message = "JSON: expected ";
    message += expected;
    message += " at byte ";
    message += std::to_string(at_);
    throw JsonError(message);
  }
  int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }
  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }
  bool take(char c) {
    if (peek() != static_cast<unsigned char>(c)) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json any(int depth) {
    if (depth > kMostDepth) fail("fewer nested values");
    skip_space();
    Json value;
    const int c = peek();
    if (c == '{') {
      object(value, depth);
    } else if (c == '[') {
      array(value, depth);
    } else if (c == '"') {
      value.kind = Json::Kind::string;
      value.text = string();
    } else if (c == '-' || digit()) {
      value.kind = Json::Kind::number;
      value.text = number();
    } else if (const std::string_view word = literal(); !word.empty()) {
      value.kind = word == "null" ? Json::Kind::null : Json::Kind::boolean;
      value.text = word;
    } else {
      fail("a value");
    }
    return value;
  }

  std::string_view literal() {
    for (const char* word : {"true", "false", "null"})
      if (take(std::string_view(word))) return word;
    return {};
  }

  void object(Json& value, int depth) {
    value.kind = Json::Kind::object;
    std::set<std::string> seen;
    members('{', '}', [&] {
      skip_space();
      if (peek() != '"') fail("a name");
      std::string name = string();
      if (!seen.insert(name).second) fail("another name than before");
      skip_space();
      if (!take(':')) fail("':'");
      value.names.push_back(std::move(name));
      value.items.push_back(any(depth + 1));
    });
  }
  void array(Json& value, int depth) {
    value.kind = Json::Kind::array;
    members('[', ']', [&] { value.items.push_back(any(depth + 1)); });
  }
  template <class Member>
  void members(char open, char close, Member member) {
    take(open);
    skip_space();
    if (take(close)) return;
    do {
      member();
      skip_space();
    } while (take(','));
    if (!take(close)) fail(close == '}' ? "',' or '}'" : "',' or ']'");
  }

  bool digit() const { return peek() >= '0' && peek() <= '9'; }
  void digits() {
    if (!digit()) fail("a digit");
    while (digit()) ++at_;
  }
  std::string number() {
    const size_t begin = at_;
    take('-');
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string string() {
    take('"');
    std::string result;
    while (!take('"')) {
      const int c = peek();
      if (c < 0x20) fail("a character of a string");
      ++at_;
      if (c == '\\') {
        escape(result);
      } else {
        result += char(c);
        if (c >= 0x80) beyond_ascii(c, result);
      }
    }
    return result;
  }
  // Takes the rest of a character of several bytes, by RFC 3629: in the shortest form, no surrogate, up to U+10FFFF.
  void beyond_ascii(int first, std::string& to) {
    const int more = std::countl_one(uint8_t(first)) - 1;
    uint32_t point = uint32_t(first & 0x3f >> more);
    bool fits = first >= 0xc2 && first <= 0xf4;
    for (int k = 0; k < more && fits; ++k) {
      const int c = peek();
      fits = (c & 0xc0) == 0x80;
      point = point << 6 | (c & 0x3f);
      to += char(c);
      ++at_;
    }
    if (!fits || point >> (5 * more + 1) == 0 || point >> 11 == 0xd800 >> 11 || point > 0x10ffff) fail("UTF-8");
  }
  void escape(std::string& to) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (take('u')) return encode(code_point(), to);
    const size_t which = peek() < 0 ? kLetters.npos : kLetters.find(char(peek()));
    if (which == kLetters.npos) fail("an escaped character");
    ++at_;
    to += kMeanings[which];
  }
  uint32_t code_point() {
    const uint32_t first = hex();
    if (first < 0xd800 || first > 0xdfff) return first;
    const uint32_t second = first <= 0xdbff && take("\\u") ? hex() : 0;
    if (second < 0xdc00 || second > 0xdfff) fail("a pair of surrogates");
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  }
  uint32_t hex() {
    const std::string_view four = text_.substr(at_, 4);
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(four.data(), four.data() + four.size(), value, 16);
    if (four.size() != 4 || error != std::errc() || end != four.data() + 4) fail("four hexadecimal digits");
    at_ += 4;
    return value;
  }
  static void encode(uint32_t point, std::string& to) {  // as UTF-8
    const auto rest = [&](int shift) { to += char(0x80 | (point >> shift & 0x3f)); };
    if (point < 0x80) {
      to += char(point);
    } else if (point < 0x800) {
      to += char(0xc0 | point >> 6);
      rest(0);
    } else if (point < 0x10000) {
      to += char(0xe0 | point >> 12);
      rest(6), rest(0);
    } else {
      to += char(0xf0 | point >> 18);
      rest(12), rest(6), rest(0);
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? nullptr : &items[size_t(found - names.begin())];
}

template <class T>
static std::optional<T> whole_text(const Json& json) {
  const char* const end = json.text.data() + json.text.size();
  T value{};
  const auto [stop, error] = std::from_chars(json.text.data(), end, value);
  if (!json.is(Json::Kind::number) || error != std::errc() || stop != end) return {};
  return value;
}

std::optional<double> Json::number() const { return whole_text<double>(*this); }

std::optional<int64_t> Json::count() const {
  const auto value = whole_text<int64_t>(*this);
  return value && *value >= 0 ? value : std::nullopt;
}

Json parse_json(std::string_view text) { return Parser(text).whole(); }

}  // namespace lite_rtse::capi
