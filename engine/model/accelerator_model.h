// A model whose weights and KV rows lie on the accelerator, as the host sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/attention/attention_settings.h"
#include "engine/batch/model_input.h"
#include "engine/kv/residency.h"
#include "engine/kv/row_fetcher.h"
#include "engine/model/weight_source.h"
#include "engine/parallel/device_collectives.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

struct AcceleratorSettings {
  KvType kv = KvType::kBF16;
  std::int32_t page_size = 64;
  std::int64_t max_context = 0;
  std::int64_t rope_positions = 0;  // every position and distance
  std::int32_t max_running = 1;
  std::int32_t max_logits = 1;   // rows of a step
  std::int64_t host_bytes = 0;   // for rows that the device has no room for
  std::size_t device_bytes = 0;  // of the device, for rows; 0: what the model leaves
  Residency residency = Residency::kAuto;
  AttentionSettings attention = {};  // its chunk_size is the scheduler's
  PolicyTraits policy = {};
  PolicyParts selection = {};          // store, rope and digests are not read
  DeviceCollectives* ranks = nullptr;  // null with one rank; outlives the model
};

// Pages of KV rows, and what moved since the start, for metrics.
struct AcceleratorPages {
  std::int32_t n_pages = 0;         // that sequences may have
  std::int64_t page_bytes = 0;      // of one, digests included
  std::int32_t n_host_pages = 0;    // that have a place on the host: all of them, or none
  std::int32_t n_device_pages = 0;  // that fit on the device at once
  std::int32_t n_on_device = 0;     // of these, in use
  std::int64_t row_bytes = 0;       // of one row of one layer
  FetchStats selected;              // zeros where every page is on the device
  std::int64_t n_loaded = 0;        // pages that came from the host
  std::int64_t n_spilled = 0;       // pages that gave up their place on the device
};

// Owner: the model executor. Thread: executor only, where no other is named; loaded on any.
class AcceleratorModel {
 public:
  virtual ~AcceleratorModel() = default;

  // As Model::Forward. Logits [n_logit_rows, vocab_size] in host memory, valid until the next call;
  // none on ranks that do not sample. Errors: those of copies that failed twice; RESOURCE_EXHAUSTED
  // where the device is short of memory. A step that fails leaves no row of it behind, and later
  // ones run, but for an error that destroyed the device's context (IsSticky). With several ranks
  // nothing is tried twice, since the others do not wait; UNAVAILABLE where one has gone.
  virtual absl::StatusOr<std::span<const float>> Forward(const ModelInput& input,
                                                         StepResult& result) = 0;

  virtual std::size_t weight_bytes() const = 0;

  // Nobody has the page any more. Thread: any, before a step that uses the page again.
  virtual void Discard(PageId page) = 0;

  // Thread: any.
  virtual AcceleratorPages pages() const = 0;

  // Not OK: no step can succeed any more. Thread: any.
  virtual absl::Status health() const = 0;

  // What works, but less well than it should, said once. Empty: nothing new.
  virtual std::string TakeWarning() = 0;
};

// Whether LoadAcceleratorModel has what it needs. Errors: FAILED_PRECONDITION in a build without
// CUDA and on a machine without a GPU; UNIMPLEMENTED for a policy that scores no digests.
absl::Status CheckAccelerator(const PolicyTraits& policy);

// Blocks until all weights are on the device; `source` is not needed after that. Ranks agree on
// what all of them have room for. Errors: those of CheckAccelerator, of ShardModel, of
// WeightSource::Get and of PlanResidency; RESOURCE_EXHAUSTED where device or host have too little
// memory.
absl::StatusOr<std::unique_ptr<AcceleratorModel>> LoadAcceleratorModel(
    const WeightSource& source, const AcceleratorSettings& settings);

}  // namespace keyhole
