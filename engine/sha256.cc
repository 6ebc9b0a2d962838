#include "engine/sha256.h"

#include <openssl/sha.h>

#include "engine/check.h"

namespace keyhole {

static_assert(sizeof(Sha256Digest) == SHA256_DIGEST_LENGTH);

Sha256Digest Sha256(std::span<const std::byte> bytes) {
  Sha256Digest digest;
  const auto* start = reinterpret_cast<const unsigned char*>(bytes.data());
  KEYHOLE_CHECK(SHA256(start, bytes.size(), digest.data()) != nullptr, "OpenSSL must know SHA-256");
  return digest;
}

std::string Sha256Hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : Sha256(bytes)) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 0xF];
  }
  return hex;
}

std::string Sha256Hex(std::string_view text) { return Sha256Hex(std::as_bytes(std::span(text))); }

}  // namespace keyhole
