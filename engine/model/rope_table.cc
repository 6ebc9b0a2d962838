#include "engine/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace keyhole {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

std::vector<double> PlainFrequencies(std::int64_t head_dim, double theta) {
  std::vector<double> frequencies(head_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  return frequencies;
}

// The base under which the slowest frequency is interpolated by `factor` and the fastest is kept.
double NtkTheta(const ModelConfig& config) {
  const auto d = static_cast<double>(config.head_dim);
  return config.rope_theta * std::pow(config.rope_scaling.factor, d / (d - 2));
}

// Which dimension turns `rotations` times over the original length.
double YarnDimension(const ModelConfig& config, double rotations) {
  const double wavelengths =
      static_cast<double>(config.rope_scaling.original_length) / (rotations * kTwoPi);
  return static_cast<double>(config.head_dim) * std::log(wavelengths) /
         (2 * std::log(config.rope_theta));
}

// Interpolates dimensions that turn less than beta_slow times, keeps those that turn more than
// beta_fast times, and blends those in between.
void ScaleYarn(const ModelConfig& config, std::vector<double>& frequencies) {
  const RopeScaling& scaling = config.rope_scaling;
  const double low = std::max(std::floor(YarnDimension(config, scaling.beta_fast)), 0.0);
  double high = std::min(std::ceil(YarnDimension(config, scaling.beta_slow)),
                         static_cast<double>(config.head_dim - 1));
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double interpolated = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] *= interpolated / scaling.factor + (1 - interpolated);
  }
}

void ScaleLlama3(const RopeScaling& scaling, std::vector<double>& frequencies) {
  for (double& frequency : frequencies) {
    const double rotations = static_cast<double>(scaling.original_length) * frequency / kTwoPi;
    const double kept = std::clamp((rotations - scaling.low_freq_factor) /
                                       (scaling.high_freq_factor - scaling.low_freq_factor),
                                   0.0,
                                   1.0);
    frequency *= (1 - kept) / scaling.factor + kept;
  }
}

std::vector<double> Frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const double theta = scaling.kind == RopeScalingKind::kNtk ? NtkTheta(config) : config.rope_theta;
  std::vector<double> frequencies = PlainFrequencies(config.head_dim, theta);
  if (scaling.kind == RopeScalingKind::kLinear) {
    for (double& frequency : frequencies) frequency /= scaling.factor;
  } else if (scaling.kind == RopeScalingKind::kYarn) {
    ScaleYarn(config, frequencies);
  } else if (scaling.kind == RopeScalingKind::kLlama3) {
    ScaleLlama3(scaling, frequencies);
  }
  for (std::size_t i = 0; i < config.rope_frequency_factors.size(); ++i) {
    frequencies[i] /= config.rope_frequency_factors[i];
  }
  return frequencies;
}

double AttentionFactor(const RopeScaling& scaling) {
  if (scaling.kind != RopeScalingKind::kYarn) return 1;
  if (scaling.attention_factor != 0) return scaling.attention_factor;
  return scaling.factor > 1 ? 0.1 * std::log(scaling.factor) + 1 : 1;
}

}  // namespace

RopeTable::RopeTable(const ModelConfig& config, std::int64_t n_positions)
    : n_positions_(n_positions), half_(static_cast<std::int32_t>(config.head_dim / 2)) {
  const std::vector<double> frequencies = Frequencies(config);
  const double attention_factor = AttentionFactor(config.rope_scaling);
  attention_factor_ = static_cast<float>(attention_factor);
  cos_.reserve(n_positions * half_);
  sin_.reserve(n_positions * half_);
  for (std::int64_t position = 0; position < n_positions; ++position) {
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      cos_.push_back(static_cast<float>(std::cos(angle) * attention_factor));
      sin_.push_back(static_cast<float>(std::sin(angle) * attention_factor));
    }
  }
}

}  // namespace keyhole
