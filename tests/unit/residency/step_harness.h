// Steps over resident rows as the engine makes them, on the fake device, with every row compared.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "engine/kv/host_store.h"
#include "engine/kv/resident_kv.h"
#include "engine/kv/row_copier.h"
#include "engine/types.h"

namespace keyhole {

constexpr KvLayout kTinyLayout = {
    .n_layers = 2, .n_kv_heads = 1, .head_dim = 4, .page_size = 4, .type = KvType::kF32};
constexpr std::int32_t kInitial = 3;
constexpr std::int32_t kLocal = 6;

using RowBytes = std::vector<std::byte>;

// Its rows as they must be read: the oracle.
struct TestSequence {
  std::vector<PageId> pages;
  std::vector<std::vector<RowBytes>> rows =
      std::vector<std::vector<RowBytes>>(kTinyLayout.n_layers);  // [layer][row]

  std::int32_t n_rows() const { return static_cast<std::int32_t>(rows[0].size()); }
};

// What a sequence does in a step. `pages` has room for the new rows.
struct StepPart {
  TestSequence* sequence = nullptr;
  std::int32_t n_new = 0;
  std::vector<std::int32_t> selected = {};  // rows before the new ones
};

class StepHarness {
 public:
  StepHarness(const ResidencySettings& settings, std::int32_t n_pages);

  // Does the step, once. When it succeeds, the sequences have their new rows, and all bytes that
  // were read are in `log`, in an order that residency must not change. Tests fail where they are
  // not the oracle's.
  absl::Status Step(std::span<const StepPart> parts);

  ResidentKv& kv() { return *kv_; }
  Stream& stream() { return *stream_; }
  const std::vector<std::byte>& log() const { return log_; }

  // Called between any two calls: lets some of the queued work run.
  std::function<void()> interlude = [] {};

 private:
  // One row that a kernel reads, and what it has to be.
  struct Read {
    RowBytes expected;
    RowBytes got;
  };
  struct Plan;

  absl::Status Run(std::span<const StepPart> parts, Plan& plan);
  absl::Status RunLayer(std::int32_t layer, std::span<const StepPart> parts, Plan& plan);
  std::int32_t PlaceInPage(std::int32_t layer, const TestSequence& sequence, std::int32_t row);
  RowBytes NewRow();

  std::optional<Stream> stream_;
  std::unique_ptr<HostStore> host_;
  RowByRowCopier copier_;
  std::unique_ptr<ResidentKv> kv_;
  std::mt19937 bytes_{5};
  std::vector<std::byte> log_;
};

}  // namespace keyhole
