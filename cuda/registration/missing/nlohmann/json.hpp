// Torch's headers of function transforms include this library, which its wheel does not bring, and use it in functions
// that nothing here calls: they need declarations only.
#pragma once
#include <string>

namespace nlohmann {
struct json {
  json();
  template <class T>
  json(const T&);
  static json parse(const std::string&);
  std::string dump() const;
  template <class T>
  T get() const;
};
}  // namespace nlohmann
