// Copies keys from KV pages into windows, rotated to their own positions, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/kv/row_range.h"
#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/rotate_keys.h"
#include "engine/ops/cuda/workspace.h"
#include "engine/ops/rope.h"

namespace keyhole::cuda {

struct RotateKeysParams {
  KvPages store = {};  // holds un-rotated keys
  DevicePageTable pages = {};
  RowRange rows = {};
  KeyRing ring = {};  // of this layer, device memory
};

// What all sequences of a call share.
struct RotateSettings {
  std::int32_t layer = 0;
  RopeRows table = {};  // device memory; row r turns by the table's row r
};

// As keyhole::RotateKeys, bit for bit. REQUIRES: one layout; every row lies in `pages` and in the
// table, rows.size() is at most the ring's capacity. Throws std::logic_error otherwise,
// DeviceError.
void RotateKeys(const RotateSettings& settings,
                std::span<const RotateKeysParams> sequences,
                Workspace& workspace);

// Arguments of the launches of all layers of a step, which differ in `layer` alone: rings are those
// of layer 0, and the others lie layer_bytes apart.
RotateKeysArgs PlanRotateKeys(RopeRows table,
                              std::span<const RotateKeysParams> sequences,
                              Workspace& workspace);

}  // namespace keyhole::cuda
