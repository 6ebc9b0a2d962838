// Which rows are near a query and how far the others are put where positions are rectified. Plain
// data. Sources: ESA (arXiv 2502.14477), ReRoPE, InfLLM (arXiv 2402.04617).
#pragma once

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "engine/batch/model_input.h"
#include "engine/selection/selection.h"
#include "engine/types.h"

namespace keyhole {

struct Distances {
  std::int32_t selected = 1024;  // from a query to every selected row
  std::int32_t initial = 4096;   // from a query to every initial row
  float far_bias = 0;            // added to the logits of selected rows
  // Local rows, at most the server's. Where it is not above `selected`, no local row is further
  // away than a selected one: else a fact that is near loses against look-alikes that were
  // selected.
  std::int32_t local = std::numeric_limits<std::int32_t>::max();
  // Rows selected, at most the server's budget. Of many rows at one distance, look-alikes drown the
  // one that is asked for.
  std::int32_t budget = std::numeric_limits<std::int32_t>::max();
};

// What a request may choose by name, and how the server uses it.
struct DistanceSettings {
  Distances recall;  // questions about facts
  Distances prose;   // continuation, summaries
  Distances paper;   // ESA as published
  AttentionProfile default_profile = AttentionProfile::kRecall;
  std::int32_t tail = 128;  // so many last prompt tokens, and decode, use the request's profile
  std::int32_t chunk_size = 512;

  const Distances& Of(AttentionProfile profile) const;

  // Of the slice's last queries: what its request wishes.
  const Distances& InTail(const SequenceSlice& slice) const;

  // Of all earlier queries: one for all profiles, so that pages do not depend on the request's.
  AttentionProfile ProfileBeforeTail() const;
  const Distances& BeforeTail() const { return Of(ProfileBeforeTail()); }
};

// For a model trained on `trained_length` tokens.
std::int32_t DefaultLocal(std::int64_t trained_length);
DistanceSettings DefaultDistances(std::int32_t local);

// At which queries are scored: that of selected rows in the profile `recall`, for the default local
// size. One for a model, whatever a server's own sizes and profiles are.
std::int32_t DefaultQueryDistance(std::int64_t trained_length);

// Errors: INVALID_ARGUMENT if a distance is negative, or the largest one that any query meets is
// not below the trained length.
absl::Status CheckDistances(const DistanceSettings& distances,
                            const SelectionSizes& sizes,
                            std::int64_t trained_length);

}  // namespace keyhole
