#include "engine/attention/distances.h"

#include <fmt/format.h>

#include <algorithm>

namespace keyhole {

const Distances& DistanceSettings::Of(AttentionProfile profile) const {
  switch (profile) {
    case AttentionProfile::kRecall:
      return recall;
    case AttentionProfile::kPaper:
      return paper;
    case AttentionProfile::kProse:
      break;
  }
  return prose;
}

const Distances& DistanceSettings::InTail(const SequenceSlice& slice) const {
  if (slice.request == nullptr) return Of(default_profile);
  return Of(slice.request->selection.profile.value_or(default_profile));
}

AttentionProfile DistanceSettings::ProfileBeforeTail() const {
  const bool as_published = default_profile == AttentionProfile::kPaper;
  return as_published ? AttentionProfile::kPaper : AttentionProfile::kProse;
}

std::int32_t DefaultLocal(std::int64_t trained_length) {
  return static_cast<std::int32_t>(std::min<std::int64_t>(4096, trained_length / 2));
}

DistanceSettings DefaultDistances(std::int32_t local) {
  DistanceSettings settings;
  settings.recall = {
      .selected = local / 4, .initial = local, .far_bias = 0.5F, .local = local / 4, .budget = 128};
  settings.prose = {.selected = local / 2, .initial = local};
  settings.paper = {.selected = local, .initial = local};
  return settings;
}

std::int32_t DefaultQueryDistance(std::int64_t trained_length) {
  return DefaultDistances(DefaultLocal(trained_length)).recall.selected;
}

absl::Status CheckDistances(const DistanceSettings& distances,
                            const SelectionSizes& sizes,
                            std::int64_t trained_length) {
  std::int64_t largest = static_cast<std::int64_t>(sizes.local) + distances.chunk_size - 1;
  for (const Distances& d : {distances.recall, distances.prose, distances.paper}) {
    if (d.selected < 0 || d.initial < 0 || d.local < 0 || d.budget < 0) {
      return absl::InvalidArgumentError(
          fmt::format("distances and budgets must not be negative, got {}, {}, {} and {}",
                      d.selected,
                      d.initial,
                      d.local,
                      d.budget));
    }
    largest = std::max<std::int64_t>({largest, d.selected, d.initial});
  }
  if (largest < trained_length) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("queries would meet keys at a distance of {}, but the model was trained on {} "
                  "tokens: lower the local size ({}), the chunk size ({}) or the distances",
                  largest,
                  trained_length,
                  sizes.local,
                  distances.chunk_size));
}

}  // namespace keyhole
