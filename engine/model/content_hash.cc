#include "engine/model/content_hash.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <array>
#include <cstdlib>

namespace keyhole {

std::string Sha256Hex(std::span<const std::byte> bytes) {
  return Sha256Hex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string Sha256Hex(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  const auto* start = reinterpret_cast<const unsigned char*>(text.data());
  // Fails only where OpenSSL has no SHA-256 at all; a made-up identity would be worse than the end.
  if (SHA256(start, text.size(), digest.data()) == nullptr) std::abort();
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace keyhole
