#include "engine/model/hf_rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/model/file_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

double YarnScale(double factor, double coefficient) {
  return factor <= 1 ? 1 : 0.1 * coefficient * std::log(factor) + 1;
}

// attention_factor, or the ratio that DeepSeek's mscale and mscale_all_dim stand for.
absl::Status ReadYarn(const JsonFields& fields, RopeScaling* scaling) {
  KEYHOLE_ASSIGN_OR_RETURN(const bool truncate, fields.BoolOr("truncate", true));
  if (!truncate) return Unsupported("yarn with truncate = false is not supported");
  KEYHOLE_ASSIGN_OR_RETURN(scaling->beta_fast, fields.FloatOr("beta_fast", scaling->beta_fast));
  KEYHOLE_ASSIGN_OR_RETURN(scaling->beta_slow, fields.FloatOr("beta_slow", scaling->beta_slow));
  KEYHOLE_ASSIGN_OR_RETURN(scaling->attention_factor, fields.FloatOr("attention_factor", 0));
  KEYHOLE_ASSIGN_OR_RETURN(const double mscale, fields.FloatOr("mscale", 0));
  KEYHOLE_ASSIGN_OR_RETURN(const double mscale_all_dim, fields.FloatOr("mscale_all_dim", 0));
  if (scaling->attention_factor == 0 && mscale != 0 && mscale_all_dim != 0) {
    scaling->attention_factor =
        YarnScale(scaling->factor, mscale) / YarnScale(scaling->factor, mscale_all_dim);
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3(const JsonFields& fields, RopeScaling* scaling) {
  KEYHOLE_ASSIGN_OR_RETURN(scaling->low_freq_factor, fields.Float("low_freq_factor"));
  KEYHOLE_ASSIGN_OR_RETURN(scaling->high_freq_factor, fields.Float("high_freq_factor"));
  return absl::OkStatus();
}

absl::StatusOr<RopeScalingKind> ParseKind(std::string_view type) {
  if (type == "default" || type == "dynamic") return RopeScalingKind::kNone;
  if (type == "linear") return RopeScalingKind::kLinear;
  if (type == "ntk") return RopeScalingKind::kNtk;
  if (type == "yarn") return RopeScalingKind::kYarn;
  if (type == "llama3") return RopeScalingKind::kLlama3;
  return Unsupported(
      "rope scaling \"{}\" is not supported (default, linear, dynamic, ntk, yarn and llama3 are)",
      Printable(type));
}

absl::Status ReadScaling(const JsonFields& fields, ModelConfig* config) {
  KEYHOLE_ASSIGN_OR_RETURN(const double partial, fields.FloatOr("partial_rotary_factor", 1));
  if (partial != 1) {
    return Unsupported("partial_rotary_factor of {} is not supported", partial);
  }
  KEYHOLE_ASSIGN_OR_RETURN(config->rope_theta, fields.FloatOr("rope_theta", config->rope_theta));
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view old_type, fields.StringOr("type", "default"));
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view type, fields.StringOr("rope_type", old_type));
  RopeScaling& scaling = config->rope_scaling;
  KEYHOLE_ASSIGN_OR_RETURN(scaling.kind, ParseKind(type));
  if (scaling.kind == RopeScalingKind::kNone) return absl::OkStatus();
  KEYHOLE_ASSIGN_OR_RETURN(scaling.factor, fields.Float("factor"));
  constexpr std::string_view kOriginal = "original_max_position_embeddings";
  KEYHOLE_ASSIGN_OR_RETURN(scaling.original_length,
                           fields.IntOr(kOriginal, config->trained_length));
  if (scaling.kind == RopeScalingKind::kYarn) {
    KEYHOLE_RETURN_IF_ERROR(ReadYarn(fields, &scaling));
    // Some files give the length before scaling as max_position_embeddings, others the one after.
    const double scaled = static_cast<double>(scaling.original_length) * scaling.factor;
    if (fields.Has(kOriginal) && scaled >= 1 && scaled <= 1 << 30) {
      config->trained_length = std::max(config->trained_length, std::int64_t{std::llround(scaled)});
    }
  }
  if (scaling.kind == RopeScalingKind::kLlama3) return ReadLlama3(fields, &scaling);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHfRope(const JsonFields& fields, ModelConfig* config) {
  KEYHOLE_ASSIGN_OR_RETURN(config->rope_theta, fields.FloatOr("rope_theta", 10000));
  KEYHOLE_ASSIGN_OR_RETURN(const double partial, fields.FloatOr("partial_rotary_factor", 1));
  if (partial != 1) {
    return Unsupported("partial_rotary_factor of {} is not supported", partial);
  }
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    const nlohmann::json* scaling = fields.Find(key);
    if (scaling == nullptr) continue;
    if (!scaling->is_object()) {
      return InvalidFile("\"{}\" is not an object", key);
    }
    return ReadScaling(JsonFields(*scaling), config);
  }
  return absl::OkStatus();
}

}  // namespace keyhole
