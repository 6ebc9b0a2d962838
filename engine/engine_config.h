// Settings of the engine, one struct per part; validated once, printed at start. Errors and what is
// printed name a setting as the server's flag for it, without dashes; one that has no flag by its
// place in these structs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/kv/residency.h"
#include "engine/model/model_config.h"
#include "engine/types.h"

namespace keyhole {

// How weights are held and multiplied on the CPU.
enum class WeightMode {
  kAuto,  // quantised files stay quantised, others bf16
  kF32,   // reference: dequantised, f32 products
  kBF16,  // rounded to bf16, f32 sums
  kInt8,  // blocks of 32 in int8, int8 products
};

struct ModelSettings {
  std::string path;  // GGUF file, Hugging Face directory, or synthetic:<shape>
  std::string name;  // served name; empty: the file's own
  WeightMode weights = WeightMode::kAuto;
  std::optional<double> rope_theta;         // replaces the file's
  std::optional<RopeScaling> rope_scaling;  // replaces the file's
};

struct KvSettings {
  KvType type = KvType::kBF16;
  std::int32_t page_size = 64;  // tokens; divides chunk_size
  // 0: half of the machine's available memory, less room for key windows (README.md, Memory).
  std::int64_t memory_bytes = 0;
  std::int64_t prefix_cache_bytes = -1;  // of pages kept for reuse; -1: half of them, 0: none
};

struct SelectionSettings {
  std::string policy = "esa";
  std::string calibration;  // file; empty: beside the model, made where there is none
  std::int32_t initial = 128;
  std::int32_t local = 0;                 // 0: 4096, or half of the trained length if that is less
  std::int32_t prefill_local = 0;         // of a prompt before its last tokens; 0: as local
  std::optional<std::int32_t> selected;   // unset: the policy's own
  std::optional<std::int32_t> proximity;  // neighbours on a side that share a score; likewise
  std::int32_t probes = 8;                // means of a chunk's queries that select, at most
  std::int32_t tail_chunk = 32;           // size of the chunks at a long prompt's end; 0: as others
  std::int32_t coarse_dims = 24;  // of a digest, that rank blocks of rows; 0: every row is scored
  std::int32_t fine_rows = 4096;  // of the best blocks, at least, scored by all dimensions
  // Decode selections between two recall samples, among 8,192 candidates or fewer; among more, as
  // many more; 0: none. A prime, so that all layers have turns.
  std::int32_t recall_interval = 257;
  std::optional<PositionMode>
      positions;  // unset: native up to the trained length, rectified beyond
  std::optional<std::int32_t> recall_distance;  // of the profile `recall`; unset: local / 4
  std::optional<float> recall_bias;             // likewise, in [-100, 100]; unset: 0.5
  std::optional<std::int32_t> recall_selected;  // likewise; unset: 128, or `selected` if less
};

struct SchedulerSettings {
  // Prompt + output. 0: the trained length, or 131072 where selection reads beyond it.
  std::int32_t max_context = 0;
  std::int32_t chunk_size = 512;  // prefill tokens a step; chunks start at its multiples
  std::int32_t max_running = 32;  // sequences
  std::int32_t max_queued_requests = 256;
  // Of all prompts that wait; max_context if that is more, so that the longest can wait at all.
  std::int64_t max_queued_tokens = 4'000'000;
  std::int32_t decode_steps_between_chunks = 1;
  std::int32_t default_max_output_tokens = 256;
  std::int32_t max_output_tokens = 0;  // 0: max_context
  std::int32_t max_prompt_logprobs = 1024;
};

// Where the model computes.
enum class ComputeDevice {
  kCpu,
  kCuda,  // the first GPU that the process sees: weights, activations and compressed keys lie there
};

struct DeviceSettings {
  ComputeDevice compute = ComputeDevice::kCpu;
  Residency residency = Residency::kAuto;  // of KV rows, with an accelerator
  std::int64_t kv_memory_bytes = 0;        // of the accelerator, for KV rows; 0: what is left of it
};

struct TraceSettings {
  std::string path;  // see device/trace.h; empty: none; of device.compute cpu alone
  std::int64_t steps = 1000;
};

// Of an address HOST:PORT.
struct HostPort {
  std::string host;
  std::string port;
};

// Nothing where the colon, the host or the port is missing.
inline std::optional<HostPort> SplitHostPort(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) return std::nullopt;
  return HostPort{address.substr(0, colon), address.substr(colon + 1)};
}

// Errors: INVALID_ARGUMENT with `name`, unless it is HOST:PORT and the port a number from
// `lowest_port` to 65535.
absl::Status CheckAddress(std::string_view name,
                          const std::string& address,
                          std::int32_t lowest_port);

// What carries the tensors that ranks exchange within a step.
enum class RankBackend {
  kAuto,  // nccl with device.compute cuda, else gloo
  kGloo,  // TCP between the hosts' memories
  kNccl,  // between GPUs, of which each rank has its own
};

// Several processes, each with a part of every layer's heads and weights.
struct TensorParallelSettings {
  std::int32_t size = 1;  // processes that share the model; 1: this one has all of it
  std::int32_t rank = 0;  // of this process; 0 schedules and serves, the others work for it
  std::string address = "127.0.0.1:8481";  // HOST:PORT where rank 0 waits for the others
  RankBackend backend = RankBackend::kAuto;
  absl::Duration timeout = absl::Seconds(60);        // of one exchange of a running group
  absl::Duration start_timeout = absl::Minutes(10);  // until all ranks have come and are loaded
};

struct EngineConfig {
  ModelSettings model;
  KvSettings kv;
  SelectionSettings selection;
  SchedulerSettings scheduler;
  DeviceSettings device;
  TraceSettings trace;
  TensorParallelSettings tensor_parallel;
  std::int32_t threads = 0;       // compute threads; 0: all cores
  std::int32_t text_workers = 2;  // with two or more, a long prompt does not hold up answers
};

// Errors: INVALID_ARGUMENT naming the setting. Checks all that can be checked without the model.
absl::Status Validate(const EngineConfig& config);

// "name = value", one line for each setting.
std::vector<std::string> Describe(const EngineConfig& config);

// The lengths that requests must obey, in tokens.
struct ContextLimits {
  PositionMode positions = PositionMode::kNative;
  std::int32_t max_context = 0;
  std::int32_t max_output = 0;
  std::int32_t default_max_output = 0;
};

// From the settings and the length that the model was trained for. `can_rectify`: the selection
// policy bounds what is attended, so that positions beyond that length can be rectified.
// Errors: INVALID_ARGUMENT where the context is longer than positions and policy can serve.
absl::StatusOr<ContextLimits> ResolveContext(const EngineConfig& config,
                                             std::int64_t trained_length,
                                             bool can_rectify);

}  // namespace keyhole
