// Fixed bounds of request fields: enforced by convert_request, told by GetModel.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "engine/request/request.h"

namespace keyhole {

inline constexpr int kMaxIdBytes = 128;  // client_request_id, cache_scope
inline constexpr int kMaxRoleBytes = 64;
inline constexpr int kMaxStopSequences = 16;
inline constexpr int kMaxStopSequenceBytes = 256;
inline constexpr int kMaxLogitBiases = 300;
inline constexpr int kMaxTopLogprobs = 20;
inline constexpr int kMaxChatMessages = 1024;
inline constexpr int kMaxPriority = 10;
inline constexpr absl::Duration kMaxTimeLimit = absl::Hours(24);

// The largest message that the server receives: above the longest legal prompt, as text or as ids
// of up to 5 bytes, so that a prompt that is too long is refused with its reason and not by the
// transport. `max_context` 0: not known before the model is loaded, room for 1 Mi tokens.
inline std::int64_t MaxReceiveBytes(std::int64_t max_context) {
  constexpr std::int64_t kSlack = std::int64_t{1} << 20;
  constexpr std::int64_t kLeast = std::int64_t{8} << 20;
  if (max_context == 0) max_context = std::int64_t{1} << 20;
  const std::int64_t wanted = max_context * kTextBytesPerToken + kSlack;
  return wanted > kLeast ? wanted : kLeast;
}

}  // namespace keyhole
