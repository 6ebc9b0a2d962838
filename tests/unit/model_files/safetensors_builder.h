// Writes safetensors files with any header.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace keyhole {

inline std::string Safetensors(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  return file.append(header).append(data);
}

}  // namespace keyhole
