#include "engine/tokenizer/byte_level_alphabet.h"

#include <array>

#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

// Printable Latin-1 stands for itself; the other bytes follow from U+0100 on, in order.
constexpr bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> MakeAlphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) alphabet[byte] = StandsForItself(byte) ? byte : next++;
  return alphabet;
}

constexpr std::array<char32_t, 256> kAlphabet = MakeAlphabet();
constexpr int kLargest = 0x143;

constexpr std::array<std::int16_t, kLargest + 1> MakeReverse() {
  std::array<std::int16_t, kLargest + 1> reverse{};
  for (auto& byte : reverse) byte = -1;
  for (int byte = 0; byte < 256; ++byte) reverse[kAlphabet[byte]] = byte;
  return reverse;
}

constexpr std::array<std::int16_t, kLargest + 1> kReverse = MakeReverse();

}  // namespace

std::string ByteLevelCharacter(std::uint8_t byte) {
  std::string character;
  AppendUtf8(kAlphabet[byte], &character);
  return character;
}

std::optional<std::string> ByteLevelBytes(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Unit unit = ReadUtf8(token, at);
    if (!unit.valid || unit.code_point > kLargest || kReverse[unit.code_point] < 0) return {};
    bytes.push_back(static_cast<char>(kReverse[unit.code_point]));
    at += unit.length;
  }
  return bytes;
}

}  // namespace keyhole
