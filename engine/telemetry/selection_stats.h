// What selection did in one step, layer by layer. Plain data, collected on the executor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace keyhole {

enum class SelectionStage { kCompress, kScore, kTopK };  // top-k includes the pool before it
constexpr std::size_t kSelectionStages = 3;

struct LayerSelection {
  std::array<double, kSelectionStages> seconds = {};  // of all sequences of the step
  std::int64_t candidates = 0;                        // middle rows there were
  std::int64_t selected = 0;                          // middle rows chosen
  std::int64_t scored = 0;                            // candidates that were scored

  double& operator[](SelectionStage stage) { return seconds[static_cast<std::size_t>(stage)]; }
};

// One sampled comparison with exact scores over the un-compressed keys.
struct RecallSample {
  std::int32_t layer = 0;
  double overlap = 0;  // share of the exact top-k rows that were chosen, in [0, 1]
  double mass = 0;     // share of the candidates' exact attention mass that the chosen rows carry
};

struct StepSelectionStats {
  std::vector<LayerSelection> layers;  // by layer; empty where the policy scores nothing
  std::vector<RecallSample> samples;
};

}  // namespace keyhole
