// What the launches of one step's attention are told: the same for all layers but for their number,
// so that a step whose arguments are those of a captured one can replay it.
#pragma once

#include <cstdint>

#include "engine/attention/cuda/device_digest_maps.h"
#include "engine/device/stream.h"
#include "engine/ops/cuda/append_digests.h"
#include "engine/ops/cuda/append_kv.h"
#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/cuda/compress_queries.h"
#include "engine/ops/cuda/max_pool.h"
#include "engine/ops/cuda/rank_ops.h"
#include "engine/ops/cuda/resolve_rows.h"
#include "engine/ops/cuda/rotate_keys.h"
#include "engine/ops/cuda/row_ops.h"
#include "engine/ops/cuda/score_rows.h"
#include "engine/ops/cuda/top_k.h"

namespace keyhole::cuda {

struct StepArguments {
  RopeArgs rotated_queries;
  RopeArgs rotated_keys;  // native positions only; else without rows
  AppendKvArgs append;
  AppendDigestsArgs digests;
  CompressQueriesArgs compress;
  ScoreRowsArgs score;
  MaxPoolArgs pool;
  TopKArgs top_k;
  HashRowsArgs hash;      // of the rows of a layer; n is 0 with one rank
  RotateKeysArgs window;  // rectified positions only
  // Of layers that select, and of those that do not.
  struct Reading {
    FetchRowsArgs fetch;
    AttendRowsArgs attend;

    bool operator==(const Reading&) const = default;
  };
  Reading selecting;
  Reading plain;

  bool operator==(const StepArguments&) const = default;

  // Bounds that launches are made for become powers of two, so that few lengths make another step.
  void RoundUp();

  // Queues one layer. `maps` may be null. Launches kernels and does nothing else. Throws
  // DeviceError.
  void Queue(std::int32_t layer, const DeviceDigestMaps* maps, const Stream& stream) const;
};

}  // namespace keyhole::cuda
