// Small vocabularies for the tests of this folder.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// 256 byte tokens (id = byte), then `merges` in order, then "<|im_start|>" and "<|im_end|>".
inline TokenizerData ByteLevelData(const std::vector<std::string>& merges) {
  TokenizerData data;
  for (int byte = 0; byte < 256; ++byte) {
    data.tokens.push_back(ByteLevelCharacter(static_cast<std::uint8_t>(byte)));
  }
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    data.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  data.merges = merges;
  data.types.assign(data.tokens.size(), kTokenNormal);
  for (const char* special : {"<|im_start|>", "<|im_end|>"}) {
    data.tokens.push_back(special);
    data.types.push_back(kTokenControl);
  }
  data.pre = "gpt-2";
  return data;
}

// "<unk>", "<s>", "</s>", 256 byte tokens, then `pieces` with falling scores.
inline TokenizerData SentencePieceData(const std::vector<std::string>& pieces) {
  TokenizerData data;
  data.kind = TokenizerData::Kind::kSentencePiece;
  const auto add = [&](std::string text, TokenType type, float score) {
    data.tokens.push_back(std::move(text));
    data.types.push_back(type);
    data.scores.push_back(score);
  };
  add("<unk>", kTokenUnknown, 0);
  add("<s>", kTokenControl, 0);
  add("</s>", kTokenControl, 0);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), kTokenByte, 0);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    add(pieces[i], kTokenNormal, -static_cast<float>(i));
  }
  data.bos = 1;
  data.eos = 2;
  data.unk = 0;
  return data;
}

constexpr TokenId kFirstPiece = 259;  // of SentencePieceData

}  // namespace keyhole
