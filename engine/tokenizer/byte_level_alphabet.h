// The printable alphabet in which byte-level BPE files spell bytes (GPT-2, Radford et al. 2019).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keyhole {

// The character that stands for `byte`, as UTF-8.
std::string ByteLevelCharacter(std::uint8_t byte);

// Bytes that `token` spells; nothing when it holds a character outside the alphabet.
std::optional<std::string> ByteLevelBytes(std::string_view token);

}  // namespace keyhole
