#include "engine/calibration/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/attention/distances.h"
#include "engine/calibration/moments.h"

namespace keyhole {
namespace {

constexpr std::int64_t kMinTokens = 512;
constexpr std::int64_t kMaxSegment = 4096;
constexpr std::int64_t kMaxRangeTokens = 4096;
constexpr std::int64_t kProbes = 32;
constexpr std::int32_t kMaxConcatenatedRank = 64;
constexpr std::int32_t kRankStep = 4;

absl::Status CheckRank(const char* name, std::int32_t rank, std::int64_t dim) {
  if (rank >= kRankStep && rank % kRankStep == 0 && rank <= dim) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} of {} is not a multiple of {} up to {}", name, rank, kRankStep, dim));
}

std::int32_t RankOr(std::int32_t rank, std::int64_t otherwise) {
  if (rank != 0) return rank;
  return static_cast<std::int32_t>(
      std::max<std::int64_t>(kRankStep, otherwise / kRankStep * kRankStep));
}

// Of one token in all layers.
std::int64_t SampleBytes(const ModelConfig& config, bool with_queries) {
  const std::int64_t values = config.kv_size() + (with_queries ? config.q_size() : 0);
  return config.n_layers * values * static_cast<std::int64_t>(sizeof(float));
}

void PlanHeldOut(std::int64_t n, CalibrationPlan& plan) {
  plan.sizes.initial = static_cast<std::int32_t>(std::min<std::int64_t>(128, n / 16));
  plan.sizes.local = static_cast<std::int32_t>(n / 4);
  const std::int64_t middle = n - plan.sizes.initial - plan.sizes.local;
  plan.sizes.selected = static_cast<std::int32_t>(std::clamp<std::int64_t>(middle / 8, 1, 512));
  plan.probes = {.begin = plan.n_fitted + n - n / 4,
                 .end = plan.n_tokens,
                 .step = std::max<std::int64_t>(1, n / 4 / kProbes)};
}

}  // namespace

absl::StatusOr<CalibrationPlan> PlanCalibration(const CalibrationSettings& settings,
                                                std::int64_t n_tokens) {
  const ModelConfig& config = settings.source->config();
  if (n_tokens < kMinTokens) {
    return absl::InvalidArgumentError(fmt::format(
        "calibration needs a text of at least {} tokens, not {}", kMinTokens, n_tokens));
  }
  CalibrationPlan plan;
  plan.n_tokens = n_tokens;
  plan.segment = std::min(kMaxSegment, config.trained_length);
  plan.query_distance = settings.query_distance != 0 ? settings.query_distance
                                                     : DefaultQueryDistance(config.trained_length);
  if (plan.query_distance < 0 || plan.query_distance >= config.trained_length) {
    return absl::InvalidArgumentError(
        fmt::format("a query distance of {} lies outside the trained length of {}",
                    plan.query_distance,
                    config.trained_length));
  }
  plan.rank = RankOr(settings.rank, config.head_dim / 2);
  if (absl::Status status = CheckRank("rank", plan.rank, config.head_dim); !status.ok()) {
    return status;
  }
  if (MomentBytes(config, true) <= static_cast<std::size_t>(settings.moment_bytes)) {
    plan.concatenated_rank =
        RankOr(settings.concatenated_rank,
               std::min<std::int64_t>(kMaxConcatenatedRank, config.kv_size() / 3));
    absl::Status status = CheckRank("concatenated rank", plan.concatenated_rank, config.kv_size());
    if (!status.ok()) return status;
  }
  const std::int64_t fits =
      std::max<std::int64_t>(kMinTokens, settings.sample_bytes / SampleBytes(config, false));
  const std::int64_t held_out = std::min({n_tokens / 4, plan.segment, fits});
  plan.n_fitted = n_tokens - held_out;
  const std::int64_t kept =
      std::min(kMaxRangeTokens,
               std::max<std::int64_t>(
                   kMinTokens, settings.sample_bytes / SampleBytes(config, settings.refine)));
  plan.ranges = {.begin = 0, .end = plan.n_fitted, .step = (plan.n_fitted + kept - 1) / kept};
  PlanHeldOut(held_out, plan);
  return plan;
}

}  // namespace keyhole
