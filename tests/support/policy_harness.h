// A selection policy with pages, digests, random maps and sequences of random keys to choose from.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/device/device.h"
#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/ops/rope.h"
#include "engine/selection/digest_maps.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// What one sequence asks in one layer: queries are random, by id and past.
struct PolicyCase {
  PolicyCase(RequestId id, std::int32_t past, std::int32_t q_len, SelectionSizes sizes);

  RequestId id;
  std::int32_t past;
  std::int32_t q_len;
  SelectionSizes sizes;
  std::vector<float> queries;  // [q_len, kHeads, kHeadDim]
};

// Keys depend on the sequence and the position alone. Pages are handed out in no order.
class PolicyHarness {
 public:
  static constexpr std::int32_t kHeads = 6;
  static constexpr std::int32_t kKvHeads = 2;
  static constexpr std::int32_t kHeadDim = 16;
  static constexpr std::int32_t kRank = 8;
  static constexpr std::int32_t kPageSize = 16;
  static constexpr std::int32_t kPages = 512;
  static constexpr std::int32_t kDistance = 5;
  static constexpr std::int32_t kProximity = 1;
  static constexpr std::int32_t kProbes = 3;
  static constexpr std::int32_t kSingleQueries = 5;
  static constexpr std::int32_t kFineRows = 64;

  explicit PolicyHarness(std::string_view policy,
                         PositionMode positions = PositionMode::kRectified,
                         std::int32_t coarse_dims = 0);

  // Appends what the case's past still lacks, then selects.
  absl::StatusOr<Selection> Select(Device& device, const PolicyCase& c, StepSelectionStats* stats);
  Selection Select(Device& device, const PolicyCase& c);

  // All of them in one call. With `stats` of the call, if not null.
  std::vector<Selection> SelectEach(Device& device,
                                    std::span<const PolicyCase> cases,
                                    StepSelectionStats* stats = nullptr);

  SelectionPolicy& policy() { return *policy_; }
  const DigestMaps& maps() const { return *maps_; }
  const DigestStore& digests() const { return *digests_; }
  std::span<const PageId> pages(RequestId id) { return sequences_[id].pages; }

  static std::vector<float> Key(RequestId id, std::int32_t position);  // [kKvHeads, kHeadDim]
  RopeRows rope() const { return {cos_.data(), sin_.data(), 1}; }

 private:
  struct Sequence {
    std::vector<PageId> pages;
    std::int32_t length = 0;
  };

  void Append(Device& device, RequestId id, std::int32_t length);
  SelectionContext ContextOf(const PolicyCase& c, StepSelectionStats* stats);

  PositionMode positions_;
  std::vector<float> cos_;
  std::vector<float> sin_;
  std::unique_ptr<HostStore> store_;
  std::shared_ptr<const DigestMaps> maps_;
  std::unique_ptr<DigestStore> digests_;
  std::unique_ptr<SelectionPolicy> policy_;
  std::map<RequestId, Sequence> sequences_;
  std::int32_t next_page_ = 0;
};

}  // namespace keyhole
