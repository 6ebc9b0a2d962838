#include "server/flags.h"

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace keyhole {
namespace {

constexpr int kWrongUse = 2;

// Values as they stand on the command line, where they differ from the settings.
struct RawFlags {
  double rope_theta = 0;
  std::string rope_scaling;
  std::string positions = "auto";
  std::string reflection = "on";
  double drain_timeout = 0;
  double slow_reader_timeout = 0;
  double slow_request = 0;
  double heartbeat_timeout = 0;
  double tensor_parallel_timeout = 0;
  double tensor_parallel_start_timeout = 0;
};

template <typename Enum>
CLI::CheckedTransformer OneOf(const std::map<std::string, Enum>& values) {
  return CLI::CheckedTransformer(values);
}

// "auto" is -1.
std::string AutoOrSize(std::string text) {
  if (text == "auto") return "-1";
  const std::string error = CLI::AsSizeValue(false)(text);
  if (!error.empty()) throw CLI::ValidationError(error);
  return text;
}

void AddModelFlags(CLI::App* app, EngineConfig* engine, RawFlags* raw) {
  app->add_option(
         "--model", engine->model.path, "GGUF file, Hugging Face directory, or synthetic:SHAPE")
      ->required()
      ->group("Model");
  app->add_option("--model-name", engine->model.name, "Served name (default: the file's own)")
      ->group("Model");
  app->add_option("--weights", engine->model.weights, "auto, f32, bf16 or int8")
      ->transform(OneOf<WeightMode>({{"auto", WeightMode::kAuto},
                                     {"f32", WeightMode::kF32},
                                     {"bf16", WeightMode::kBF16},
                                     {"int8", WeightMode::kInt8}}))
      ->group("Model");
  app->add_option("--rope-theta", raw->rope_theta, "RoPE base instead of the file's")
      ->check(CLI::PositiveNumber)
      ->group("Model");
  app->add_option("--rope-scaling",
                  raw->rope_scaling,
                  "KIND:FACTOR instead of the file's; KIND is linear, ntk or yarn")
      ->group("Model");
  app->add_option("--threads", engine->threads, "Compute threads (0: all cores)")
      ->check(CLI::NonNegativeNumber)
      ->group("Model");
}

void AddContextFlags(CLI::App* app, EngineConfig* engine) {
  constexpr const char* kGroup = "Context";
  app->add_option(
         "--max-context",
         engine->scheduler.max_context,
         "Prompt and output tokens of a request (0: 131072 with selection, else as trained)")
      ->group(kGroup);
  app->add_option(
         "--kv-memory",
         engine->kv.memory_bytes,
         "Host memory for KV pages, as 8GiB (0: half of what is free, less room for key windows)")
      ->transform(CLI::AsSizeValue(false))
      ->group(kGroup);
  app->add_option(
         "--prefix-cache",
         engine->kv.prefix_cache_bytes,
         "Part of it that may keep prompt prefixes for reuse, as 1GiB (auto: half, 0: none)")
      ->transform(AutoOrSize)
      ->default_str("auto")
      ->group(kGroup);
  app->add_option("--kv-type", engine->kv.type, "f32, bf16 or int8 (half the memory of bf16)")
      ->transform(
          OneOf<KvType>({{"f32", KvType::kF32}, {"bf16", KvType::kBF16}, {"int8", KvType::kInt8}}))
      ->group(kGroup);
  app->add_option("--chunk-size", engine->scheduler.chunk_size, "Prefill tokens of a step")
      ->group(kGroup);
  app->add_option("--max-running", engine->scheduler.max_running, "Requests that run at once")
      ->group(kGroup);
  app->add_option("--max-queued", engine->scheduler.max_queued_requests, "Requests that wait")
      ->group(kGroup);
  app->add_option("--max-output",
                  engine->scheduler.max_output_tokens,
                  "Output tokens of a request (0: what the context leaves)")
      ->group(kGroup);
  app->add_option("--default-output",
                  engine->scheduler.default_max_output_tokens,
                  "Output tokens where a request names no number")
      ->group(kGroup);
}

void AddDeviceFlags(CLI::App* app, DeviceSettings* device) {
  constexpr const char* kGroup = "Device";
  app->add_option("--device", device->compute, "cpu, or cuda: the first GPU that the process sees")
      ->transform(
          OneOf<ComputeDevice>({{"cpu", ComputeDevice::kCpu}, {"cuda", ComputeDevice::kCuda}}))
      ->default_str("cpu")
      ->group(kGroup);
  app->add_option("--kv-residency",
                  device->residency,
                  "Where KV pages lie with a GPU: host, device, or auto: there while they fit")
      ->transform(OneOf<Residency>(
          {{"host", Residency::kHost}, {"device", Residency::kDevice}, {"auto", Residency::kAuto}}))
      ->default_str("auto")
      ->group(kGroup);
  app->add_option("--device-kv-memory",
                  device->kv_memory_bytes,
                  "Memory of the GPU for KV rows, as 20GiB (0: what the model leaves)")
      ->transform(CLI::AsSizeValue(false))
      ->group(kGroup);
}

void AddSelectionFlags(CLI::App* app,
                       SelectionSettings* selection,
                       RawFlags* raw,
                       const std::vector<std::string>& policies) {
  constexpr const char* kGroup = "Selection";
  app->add_option(
         "--policy", selection->policy, absl::StrCat("One of ", absl::StrJoin(policies, ", ")))
      ->group(kGroup);
  app->add_option("--calibration",
                  selection->calibration,
                  "File of keyhole-calibrate (default: beside the model, made where there is none)")
      ->group(kGroup);
  app->add_option("--initial", selection->initial, "First tokens always attended")->group(kGroup);
  app->add_option("--local", selection->local, "Last tokens always attended (0: by the model)")
      ->group(kGroup);
  app->add_option("--prefill-local",
                  selection->prefill_local,
                  "Local tokens while a long prompt is read, up to its last tokens (0: as --local)")
      ->group(kGroup);
  app->add_option("--selected", selection->selected, "Tokens selected between them")->group(kGroup);
  app->add_option("--proximity", selection->proximity, "Neighbours that share a token's score")
      ->group(kGroup);
  app->add_option("--probes", selection->probes, "Selection probes of a prefill chunk, at most")
      ->group(kGroup);
  app->add_option(
         "--tail-chunk",
         selection->tail_chunk,
         "Prefill tokens of a step at the end of a long prompt, each with its own selection")
      ->group(kGroup);
  app->add_option(
         "--coarse-dims",
         selection->coarse_dims,
         "Dimensions of a compressed key kept a second time, in few bits, to rank blocks of 16 "
         "tokens; the best blocks' tokens are scored by all (0: every token is)")
      ->group(kGroup);
  app->add_option("--fine-rows", selection->fine_rows, "Tokens of these best blocks, at least")
      ->group(kGroup);
  app->add_option("--recall-interval",
                  selection->recall_interval,
                  "Decode selections between two comparisons with exact scores (0: none)")
      ->group(kGroup);
  app->add_option(
         "--recall-distance",
         selection->recall_distance,
         "In the profile recall: distance of selected tokens, and local tokens at most (rectified "
         "positions)")
      ->group(kGroup);
  app->add_option("--recall-selected",
                  selection->recall_selected,
                  "Tokens selected in the profile recall, at most")
      ->group(kGroup);
  app->add_option("--recall-bias",
                  selection->recall_bias,
                  "Added to the logits of selected tokens in the profile recall")
      ->group(kGroup);
  app->add_option("--positions",
                  raw->positions,
                  "auto, native or rectified; auto: native up to the trained length")
      ->check(CLI::IsMember({"auto", "native", "rectified"}))
      ->group(kGroup);
}

void AddTensorParallelFlags(CLI::App* app, TensorParallelSettings* settings, RawFlags* raw) {
  constexpr const char* kGroup = "Tensor parallelism";
  app->add_option("--tensor-parallel-size",
                  settings->size,
                  "Processes that share the model; start one for each rank, with the same settings")
      ->group(kGroup);
  app->add_option("--tensor-parallel-rank",
                  settings->rank,
                  "Of this process; 0 serves, the others work for it and open no port")
      ->group(kGroup);
  app->add_option("--tensor-parallel-address",
                  settings->address,
                  "HOST:PORT of rank 0 for the others; nobody else must reach it")
      ->group(kGroup);
  app->add_option(
         "--tensor-parallel-backend",
         settings->backend,
         "What carries tensors: nccl between GPUs of which each process sees its own, gloo "
         "by TCP, or auto: nccl with --device cuda")
      ->transform(OneOf<RankBackend>({{"auto", RankBackend::kAuto},
                                      {"gloo", RankBackend::kGloo},
                                      {"nccl", RankBackend::kNccl}}))
      ->default_str("auto")
      ->group(kGroup);
  app->add_option("--tensor-parallel-timeout",
                  raw->tensor_parallel_timeout,
                  "Seconds after which a rank that does not answer counts as dead")
      ->group(kGroup);
  app->add_option("--tensor-parallel-start-timeout",
                  raw->tensor_parallel_start_timeout,
                  "Seconds that ranks wait for one another while they start")
      ->group(kGroup);
}

void AddServiceFlags(CLI::App* app, ServerConfig* config, RawFlags* raw) {
  constexpr const char* kGroup = "Service";
  app->add_option("--listen", config->listen, "HOST:PORT for gRPC")->group(kGroup);
  app->add_option(
         "--metrics-listen", config->metrics_listen, "HOST:PORT for Prometheus; empty: none")
      ->group(kGroup);
  app->add_option("--tls-cert", config->tls.certificate, "PEM file; read again when it changes")
      ->group(kGroup);
  app->add_option("--tls-key", config->tls.private_key, "PEM file")->group(kGroup);
  app->add_option("--tls-client-ca",
                  config->tls.client_ca,
                  "PEM file; clients must show a certificate that it signed")
      ->group(kGroup);
  app->add_option(
         "--drain-timeout", raw->drain_timeout, "Seconds that running requests get after SIGTERM")
      ->group(kGroup);
  app->add_option("--slow-reader-timeout",
                  raw->slow_reader_timeout,
                  "Seconds after which an answer that is not read is cancelled")
      ->group(kGroup);
  app->add_option(
         "--slow-request", raw->slow_request, "Seconds after which a request is logged as slow")
      ->group(kGroup);
  app->add_option("--heartbeat-timeout",
                  raw->heartbeat_timeout,
                  "Seconds of silence after which the engine counts as dead")
      ->group(kGroup);
  app->add_option("--transport-memory",
                  config->transport_memory,
                  "Memory that gRPC may hold for messages, as 2GiB")
      ->transform(CLI::AsSizeValue(false))
      ->group(kGroup);
  app->add_option("--reflection", raw->reflection, "on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->group(kGroup);
  app->add_option("--trace-file",
                  config->engine.trace.path,
                  "Where the time of the first steps goes, for chrome://tracing or ui.perfetto.dev")
      ->group(kGroup);
  app->add_option("--trace-steps", config->engine.trace.steps, "How many steps the trace has")
      ->group(kGroup);
  app->add_option("--log-level", config->log_level, "debug, info, warn, error or off")
      ->group(kGroup);
}

absl::StatusOr<RopeScaling> ParseRopeScaling(const std::string& text) {
  const std::map<std::string, RopeScalingKind> kinds = {{"linear", RopeScalingKind::kLinear},
                                                        {"ntk", RopeScalingKind::kNtk},
                                                        {"yarn", RopeScalingKind::kYarn}};
  const auto colon = text.find(':');
  const auto kind = kinds.find(text.substr(0, colon));
  RopeScaling scaling;
  if (colon == std::string::npos || kind == kinds.end() ||
      !absl::SimpleAtod(text.substr(colon + 1), &scaling.factor) || !(scaling.factor >= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope-scaling is KIND:FACTOR with KIND linear, ntk or yarn and FACTOR at "
                     "least 1, not '",
                     text,
                     "'"));
  }
  scaling.kind = kind->second;
  return scaling;
}

absl::Status ApplyRawFlags(const RawFlags& raw, ServerConfig* config) {
  config->drain_timeout = absl::Seconds(raw.drain_timeout);
  config->stream.stall = absl::Seconds(raw.slow_reader_timeout);
  config->slow_request = absl::Seconds(raw.slow_request);
  config->heartbeat_timeout = absl::Seconds(raw.heartbeat_timeout);
  TensorParallelSettings& ranks = config->engine.tensor_parallel;
  ranks.timeout = absl::Seconds(raw.tensor_parallel_timeout);
  ranks.start_timeout = absl::Seconds(raw.tensor_parallel_start_timeout);
  config->reflection = raw.reflection == "on";
  if (raw.positions == "native") config->engine.selection.positions = PositionMode::kNative;
  if (raw.positions == "rectified") config->engine.selection.positions = PositionMode::kRectified;
  if (raw.rope_theta > 0) config->engine.model.rope_theta = raw.rope_theta;
  if (!raw.rope_scaling.empty()) {
    auto scaling = ParseRopeScaling(raw.rope_scaling);
    if (!scaling.ok()) return scaling.status();
    config->engine.model.rope_scaling = *scaling;
  }
  return Validate(*config);
}

ParsedFlags Wrong(const std::string& message) {
  std::fprintf(stderr, "keyhole-server: %s. See --help.\n", message.c_str());
  ParsedFlags parsed;
  parsed.exit_code = kWrongUse;
  return parsed;
}

}  // namespace

ParsedFlags ParseFlags(int argc,
                       const char* const* argv,
                       const std::vector<std::string>& policies) {
  ParsedFlags parsed;
  ServerConfig& config = parsed.config;
  RawFlags raw;
  raw.drain_timeout = absl::ToDoubleSeconds(config.drain_timeout);
  raw.slow_reader_timeout = absl::ToDoubleSeconds(config.stream.stall);
  raw.slow_request = absl::ToDoubleSeconds(config.slow_request);
  raw.heartbeat_timeout = absl::ToDoubleSeconds(config.heartbeat_timeout);
  const TensorParallelSettings& ranks = config.engine.tensor_parallel;
  raw.tensor_parallel_timeout = absl::ToDoubleSeconds(ranks.timeout);
  raw.tensor_parallel_start_timeout = absl::ToDoubleSeconds(ranks.start_timeout);
  CLI::App app("Keyhole: a gRPC service for long-context language models", "keyhole-server");
  app.option_defaults()->always_capture_default()->multi_option_policy(
      CLI::MultiOptionPolicy::TakeLast);
  AddModelFlags(&app, &config.engine, &raw);
  AddContextFlags(&app, &config.engine);
  AddDeviceFlags(&app, &config.engine.device);
  AddSelectionFlags(&app, &config.engine.selection, &raw, policies);
  AddTensorParallelFlags(&app, &config.engine.tensor_parallel, &raw);
  AddServiceFlags(&app, &config, &raw);
  app.set_config("--config", "", "File with lines NAME = VALUE, names as here without the dashes");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.set_version_flag("--version", std::string("keyhole-server ") + KEYHOLE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    parsed.exit_code = app.exit(success);
    return parsed;
  } catch (const CLI::Error& error) {
    return Wrong(error.what());
  }
  const absl::Status status = ApplyRawFlags(raw, &config);
  if (!status.ok()) return Wrong(std::string(status.message()));
  parsed.serve = true;
  return parsed;
}

}  // namespace keyhole
