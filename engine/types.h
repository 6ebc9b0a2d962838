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

// Element type of the rows in KV pages.
enum class KvType { kF32, kBF16 };

}  // namespace keyhole
