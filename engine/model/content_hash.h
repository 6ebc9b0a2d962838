// SHA-256 of model files.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace keyhole {

// Hex digits, lower case. Reads every byte: about a second for each 1-2 GB.
std::string Sha256Hex(std::span<const std::byte> bytes);
std::string Sha256Hex(std::string_view text);

}  // namespace keyhole
