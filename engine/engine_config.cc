#include "engine/engine_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/kv/digest_layout.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

struct Bound {
  std::string_view name;
  std::int64_t value;
  std::int64_t low;
  std::int64_t high;
};

absl::Status CheckBound(const Bound& bound) {
  if (bound.value >= bound.low && bound.value <= bound.high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(std::string(bound.name),
                                                 " is ",
                                                 bound.value,
                                                 ", not in [",
                                                 bound.low,
                                                 ", ",
                                                 bound.high,
                                                 "]"));
}

absl::Status CheckBias(float bias) {
  if (std::abs(bias) <= 100) return absl::OkStatus();  // not so a NaN
  return absl::InvalidArgumentError(absl::StrCat("recall-bias is ", bias, ", not in [-100, 100]"));
}

std::string_view Name(WeightMode mode) {
  switch (mode) {
    case WeightMode::kAuto:
      return "auto";
    case WeightMode::kF32:
      return "f32";
    case WeightMode::kBF16:
      return "bf16";
    case WeightMode::kInt8:
      return "int8";
  }
  return "?";
}

std::string_view Name(RankBackend backend) {
  switch (backend) {
    case RankBackend::kAuto:
      return "auto";
    case RankBackend::kGloo:
      return "gloo";
    case RankBackend::kNccl:
      return "nccl";
  }
  return "?";
}

std::string_view Name(const std::optional<PositionMode>& positions) {
  if (!positions) return "auto";
  return *positions == PositionMode::kNative ? "native" : "rectified";
}

template <class Value>
std::string Line(std::string_view name, const Value& value) {
  return absl::StrCat(std::string(name), " = ", value);
}

std::string Line(std::string_view name, std::string_view value) {
  return absl::StrCat(std::string(name), " = ", std::string(value));
}

void DescribeModel(const ModelSettings& model, std::vector<std::string>& lines) {
  lines.push_back(Line("model", std::string_view(model.path)));
  lines.push_back(Line("model-name", std::string_view(model.name)));
  lines.push_back(Line("weights", Name(model.weights)));
  if (model.rope_theta) lines.push_back(Line("rope-theta", *model.rope_theta));
  if (model.rope_scaling) {
    const RopeScaling& scaling = *model.rope_scaling;
    lines.push_back(
        Line("rope-scaling", absl::StrCat(RopeScalingName(scaling.kind), ":", scaling.factor)));
  }
}

template <class Value>
std::string OptionalLine(std::string_view name, const std::optional<Value>& value) {
  return value ? Line(name, *value) : Line(name, std::string_view("auto"));
}

void DescribeSelection(const SelectionSettings& selection, std::vector<std::string>& lines) {
  lines.push_back(Line("policy", std::string_view(selection.policy)));
  lines.push_back(Line("calibration", std::string_view(selection.calibration)));
  lines.push_back(Line("initial", selection.initial));
  lines.push_back(Line("local", selection.local));
  lines.push_back(Line("prefill-local", selection.prefill_local));
  lines.push_back(OptionalLine("selected", selection.selected));
  lines.push_back(OptionalLine("proximity", selection.proximity));
  lines.push_back(Line("probes", selection.probes));
  lines.push_back(Line("tail-chunk", selection.tail_chunk));
  lines.push_back(Line("coarse-dims", selection.coarse_dims));
  lines.push_back(Line("fine-rows", selection.fine_rows));
  lines.push_back(Line("recall-interval", selection.recall_interval));
  lines.push_back(Line("positions", Name(selection.positions)));
  lines.push_back(OptionalLine("recall-distance", selection.recall_distance));
  lines.push_back(OptionalLine("recall-bias", selection.recall_bias));
  lines.push_back(OptionalLine("recall-selected", selection.recall_selected));
}

void DescribeScheduler(const SchedulerSettings& scheduler, std::vector<std::string>& lines) {
  lines.push_back(Line("max-context", scheduler.max_context));
  lines.push_back(Line("chunk-size", scheduler.chunk_size));
  lines.push_back(Line("max-running", scheduler.max_running));
  lines.push_back(Line("max-queued", scheduler.max_queued_requests));
  lines.push_back(Line("scheduler.max_queued_tokens", scheduler.max_queued_tokens));
  lines.push_back(
      Line("scheduler.decode_steps_between_chunks", scheduler.decode_steps_between_chunks));
  lines.push_back(Line("default-output", scheduler.default_max_output_tokens));
  lines.push_back(Line("max-output", scheduler.max_output_tokens));
  lines.push_back(Line("scheduler.max_prompt_logprobs", scheduler.max_prompt_logprobs));
}

void DescribeTensorParallel(const TensorParallelSettings& settings,
                            std::vector<std::string>& lines) {
  lines.push_back(Line("tensor-parallel-size", settings.size));
  if (settings.size == 1) return;
  lines.push_back(Line("tensor-parallel-rank", settings.rank));
  lines.push_back(Line("tensor-parallel-address", std::string_view(settings.address)));
  lines.push_back(Line("tensor-parallel-backend", Name(settings.backend)));
  lines.push_back(Line("tensor-parallel-timeout", absl::FormatDuration(settings.timeout)));
  lines.push_back(
      Line("tensor-parallel-start-timeout", absl::FormatDuration(settings.start_timeout)));
}

absl::Status Validate(const TensorParallelSettings& settings) {
  KEYHOLE_RETURN_IF_ERROR(CheckAddress("tensor-parallel-address", settings.address, 1));
  for (const absl::Duration time : {settings.timeout, settings.start_timeout}) {
    if (time < absl::Milliseconds(1) || time > absl::Hours(24)) {
      return absl::InvalidArgumentError(
          "tensor-parallel-timeout and tensor-parallel-start-timeout are from 1 ms to 24 hours");
    }
  }
  return absl::OkStatus();
}

void DescribeDevice(const DeviceSettings& device, std::vector<std::string>& lines) {
  const bool cuda = device.compute == ComputeDevice::kCuda;
  lines.push_back(Line("device", std::string_view(cuda ? "cuda" : "cpu")));
  lines.push_back(Line("kv-residency", ResidencyName(device.residency)));
  lines.push_back(Line("device-kv-memory", device.kv_memory_bytes));
}

absl::Status CheckDevice(const EngineConfig& config) {
  const DeviceSettings& device = config.device;
  if (device.compute == ComputeDevice::kCpu) {
    if (config.tensor_parallel.backend == RankBackend::kNccl) {
      return absl::InvalidArgumentError(
          "tensor-parallel-backend nccl connects GPUs: it needs device cuda");
    }
    if (device.residency == Residency::kAuto && device.kv_memory_bytes == 0) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "kv-residency and device-kv-memory are settings of device cuda");
  }
  if (!config.trace.path.empty()) {
    return absl::InvalidArgumentError("trace-file with device cuda: only the CPU's time is traced");
  }
  const WeightMode weights = config.model.weights;
  if (weights == WeightMode::kAuto || weights == WeightMode::kBF16) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "weights ", std::string(Name(weights)), " with device cuda: weights are bf16 there"));
}

}  // namespace

absl::Status CheckAddress(std::string_view name,
                          const std::string& address,
                          std::int32_t lowest_port) {
  const std::optional<HostPort> parts = SplitHostPort(address);
  std::int32_t port = 0;
  if (parts.has_value() && absl::SimpleAtoi(parts->port, &port) && port >= lowest_port &&
      port <= 65535) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(std::string(name),
                                                 " is HOST:PORT with a port from ",
                                                 lowest_port,
                                                 " to 65535, not '",
                                                 address,
                                                 "'"));
}

absl::Status Validate(const EngineConfig& config) {
  const SchedulerSettings& scheduler = config.scheduler;
  constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
  // Sums and small multiples of rows fit 32 bits.
  constexpr std::int64_t kMaxRows = std::int64_t{1} << 27;
  constexpr std::int64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();
  const Bound bounds[] = {
      {"kv.page_size", config.kv.page_size, 1, 65536},
      {"kv-memory", config.kv.memory_bytes, 0, kMaxBytes},
      {"prefix-cache", config.kv.prefix_cache_bytes, -1, kMaxBytes},
      {"initial", config.selection.initial, 0, kMaxRows},
      {"local", config.selection.local, 0, kMaxRows},
      {"prefill-local", config.selection.prefill_local, 0, kMaxRows},
      {"selected", config.selection.selected.value_or(0), 0, kMaxRows},
      {"proximity", config.selection.proximity.value_or(0), 0, 1024},
      {"probes", config.selection.probes, 1, 65536},
      {"tail-chunk", config.selection.tail_chunk, 0, 65536},
      {"coarse-dims", config.selection.coarse_dims, 0, kMostCoarseDims},
      {"fine-rows", config.selection.fine_rows, 1, kMaxRows},
      {"recall-interval", config.selection.recall_interval, 0, kMaxTokens},
      {"recall-distance", config.selection.recall_distance.value_or(0), 0, kMaxRows},
      {"recall-selected", config.selection.recall_selected.value_or(0), 0, kMaxRows},
      {"max-context", scheduler.max_context, 0, kMaxTokens},
      {"chunk-size", scheduler.chunk_size, 1, 65536},
      {"max-running", scheduler.max_running, 1, 4096},
      {"max-queued", scheduler.max_queued_requests, 1, 1 << 20},
      {"scheduler.max_queued_tokens", scheduler.max_queued_tokens, 1, kMaxBytes},
      {"scheduler.decode_steps_between_chunks", scheduler.decode_steps_between_chunks, 0, 1024},
      {"default-output", scheduler.default_max_output_tokens, 1, kMaxTokens},
      {"max-output", scheduler.max_output_tokens, 0, kMaxTokens},
      {"scheduler.max_prompt_logprobs", scheduler.max_prompt_logprobs, 0, 1 << 20},
      {"device-kv-memory", config.device.kv_memory_bytes, 0, kMaxBytes},
      {"trace-steps", config.trace.steps, 1, kMaxTokens},
      {"tensor-parallel-size", config.tensor_parallel.size, 1, 64},
      {"tensor-parallel-rank", config.tensor_parallel.rank, 0, config.tensor_parallel.size - 1},
      {"threads", config.threads, 0, 4096},
      {"text_workers", config.text_workers, 1, 64},
  };
  for (const Bound& bound : bounds) KEYHOLE_RETURN_IF_ERROR(CheckBound(bound));
  if (scheduler.chunk_size % config.kv.page_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat("kv.page_size ",
                                                   config.kv.page_size,
                                                   " does not divide chunk-size ",
                                                   scheduler.chunk_size));
  }
  if (config.selection.coarse_dims % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("coarse-dims ", config.selection.coarse_dims, " is not a multiple of 8"));
  }
  KEYHOLE_RETURN_IF_ERROR(CheckBias(config.selection.recall_bias.value_or(0)));
  KEYHOLE_RETURN_IF_ERROR(Validate(config.tensor_parallel));
  return CheckDevice(config);
}

std::vector<std::string> Describe(const EngineConfig& config) {
  std::vector<std::string> lines;
  DescribeModel(config.model, lines);
  lines.push_back(Line("kv-type", std::string_view(KvTypeName(config.kv.type))));
  lines.push_back(Line("kv.page_size", config.kv.page_size));
  lines.push_back(Line("kv-memory", config.kv.memory_bytes));
  lines.push_back(Line("prefix-cache", config.kv.prefix_cache_bytes));
  DescribeSelection(config.selection, lines);
  DescribeScheduler(config.scheduler, lines);
  DescribeDevice(config.device, lines);
  lines.push_back(Line("trace-file", std::string_view(config.trace.path)));
  lines.push_back(Line("trace-steps", config.trace.steps));
  DescribeTensorParallel(config.tensor_parallel, lines);
  lines.push_back(Line("threads", config.threads));
  lines.push_back(Line("text_workers", config.text_workers));
  return lines;
}

absl::StatusOr<ContextLimits> ResolveContext(const EngineConfig& config,
                                             std::int64_t trained_length,
                                             bool can_rectify) {
  const SchedulerSettings& scheduler = config.scheduler;
  constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;
  ContextLimits limits;
  constexpr std::int64_t kLongContext = 131072;
  const bool may_rectify = can_rectify && config.selection.positions != PositionMode::kNative;
  const std::int64_t natural =
      may_rectify ? std::max(trained_length, kLongContext) : trained_length;
  limits.max_context = scheduler.max_context > 0
                           ? scheduler.max_context
                           : static_cast<std::int32_t>(std::min(natural, kMaxContext));
  const bool longer = limits.max_context > trained_length;
  limits.positions = config.selection.positions.value_or(
      longer && can_rectify ? PositionMode::kRectified : PositionMode::kNative);
  if (limits.positions == PositionMode::kNative && longer) {
    return absl::InvalidArgumentError(
        absl::StrCat("max-context is ",
                     limits.max_context,
                     " and the model was trained for ",
                     trained_length,
                     " tokens: native positions end there. Choose a shorter context, RoPE scaling, "
                     "or a selection policy with rectified positions"));
  }
  if (limits.positions == PositionMode::kRectified && !can_rectify) {
    return absl::InvalidArgumentError(absl::StrCat("policy ",
                                                   config.selection.policy,
                                                   " attends to every row and needs "
                                                   "positions native"));
  }
  if (limits.max_context < 2) {
    return absl::InvalidArgumentError("the context must have room for a prompt and an answer");
  }
  limits.max_output = limits.max_context - 1;
  if (scheduler.max_output_tokens > 0) {
    limits.max_output = std::min(limits.max_output, scheduler.max_output_tokens);
  }
  limits.default_max_output = std::min(limits.max_output, scheduler.default_max_output_tokens);
  return limits;
}

}  // namespace keyhole
