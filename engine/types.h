// Ids and small enumerations that every part of the engine shares.
#pragma once

#include <cstdint>

namespace keyhole {

using TokenId = std::int32_t;
using RequestId =
    std::uint64_t;            // unique in the life of an engine; also names the request's sequence
using PageId = std::int32_t;  // place of one page in the host store; spans all layers

enum class FinishReason {
  kEndOfSequence,    // the model produced its end token
  kStopSequence,     // a stop string matched
  kStopToken,        // a stop token id was produced
  kMaxOutputTokens,  // the request's own limit
  kContextLength,    // the served context is full
  kTimeLimit,        // stopping.time_limit passed; the text so far is valid
  kDrained,          // the server goes away; the text so far is valid
};

// How positions enter attention (selective-attention: "native" up to the trained length,
// "rectified" beyond).
enum class PositionMode { kNative, kRectified };

// Distances of the far rows in rectified positions; see attention/distances.h.
enum class AttentionProfile { kRecall, kProse, kPaper };

// Element type of the rows in KV pages. Of int8 each head has a scale of its own.
enum class KvType { kF32, kBF16, kInt8 };

constexpr const char* KvTypeName(KvType type) {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kBF16:
      return "bf16";
    case KvType::kInt8:
      break;
  }
  return "int8";
}

}  // namespace keyhole
