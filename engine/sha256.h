// SHA-256: identities of files, settings and prompts.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace keyhole {

using Sha256Digest = std::array<unsigned char, 32>;

// Reads every byte: about a second for each 1-2 GB. Ends the process where OpenSSL has no SHA-256
// at all: a made-up identity would be worse.
Sha256Digest Sha256(std::span<const std::byte> bytes);

// The digest in hex digits, lower case.
std::string Sha256Hex(std::span<const std::byte> bytes);
std::string Sha256Hex(std::string_view text);

}  // namespace keyhole
