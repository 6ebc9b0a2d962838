// Model data and text of any kind: a tokenizer is refused, or encodes and decodes without fault.
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/tokenizer/incremental_detokenizer.h"
#include "engine/tokenizer/spm_model_file.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/utf8.h"

namespace {

using keyhole::TokenId;

void Use(keyhole::TokenizerData data, std::string_view text) {
  const auto tokenizer = keyhole::MakeTokenizer(std::move(data));
  if (!tokenizer.ok()) return;
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->Encode(text, {.parse_special_tokens = parse_special});
    if (!ids.ok()) continue;
    keyhole::IncrementalDetokenizer detokenizer(tokenizer->get());
    std::string stepwise;
    for (const TokenId id : *ids) stepwise += detokenizer.Push(id);
    stepwise += detokenizer.Finish();
    if (stepwise != (*tokenizer)->Decode(*ids, false)) __builtin_trap();
  }
}

// Lines of `model` as tokens, with types, scores and merges derived from them.
keyhole::TokenizerData FromLines(std::string_view model, std::uint8_t kind) {
  keyhole::TokenizerData data;
  data.kind = static_cast<keyhole::TokenizerData::Kind>(kind % 3);
  constexpr std::string_view kNames[] = {"gpt-2", "llama-bpe", "qwen2", "smollm", "tekken"};
  data.pre = kNames[kind / 3 % 5];
  data.nfc = kind & 0x40;
  data.ignore_merges = kind & 0x80;
  while (!model.empty()) {
    const std::size_t end = model.find('\n');
    const std::string_view line = model.substr(0, end);
    if (line.find(' ') != line.npos) {
      data.merges.emplace_back(line);
    } else if (!line.empty()) {
      data.types.push_back(1 + static_cast<unsigned char>(line[0]) % 6);
      data.scores.push_back(static_cast<float>(line.size() % 7));
      data.tokens.emplace_back(line);
    }
    model = end == model.npos ? "" : model.substr(end + 1);
  }
  data.unk = 0;
  return data;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 4) return 0;
  const std::string_view input(reinterpret_cast<const char*>(bytes) + 2, size - 2);
  const std::size_t cut = bytes[1] * input.size() / 256;
  const std::string_view model = input.substr(0, cut);
  const std::string_view text = input.substr(cut);
  switch (bytes[0] % 4) {
    case 0:
      if (auto data = keyhole::ParseTokenizerJson(model); data.ok()) Use(*std::move(data), text);
      break;
    case 1:
      if (auto data = keyhole::ParseSpmModel(model); data.ok()) Use(*std::move(data), text);
      break;
    default:
      Use(FromLines(model, bytes[0] / 4 | (bytes[0] & 0xC0)), text);
  }
  return 0;
}
