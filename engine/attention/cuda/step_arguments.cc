#include "engine/attention/cuda/step_arguments.h"

#include <algorithm>
#include <bit>

namespace keyhole::cuda {
namespace {

constexpr std::int32_t kLeastCandidates = 8192;
constexpr std::int32_t kLeastSplits = 8;

std::int32_t Ceil(std::int32_t n, std::int32_t least) {
  if (n == 0) return 0;
  return static_cast<std::int32_t>(std::bit_ceil(static_cast<std::uint32_t>(std::max(n, least))));
}

void RoundUpAttention(AttendArgs& args) {
  if (args.max_splits > 1) args.max_splits = Ceil(args.max_splits, kLeastSplits);
}

}  // namespace

void StepArguments::RoundUp() {
  score.max_candidates = Ceil(score.max_candidates, kLeastCandidates);
  score.max_spans = score.max_spans == 0 ? 0 : SpansOf(0, score.max_candidates).n_spans;
  score.max_spans = std::max(score.max_spans, std::min(Ceil(score.max_spans, 1), kMaxScoreSpans));
  pool.max_n = Ceil(pool.max_n, kLeastCandidates);
  top_k.max_n = Ceil(top_k.max_n, kLeastCandidates);
  window.max_rows = Ceil(window.max_rows, 1);
  for (Reading* reading : {&selecting, &plain}) {
    RoundUpAttention(reading->attend.few);
    RoundUpAttention(reading->attend.many);
  }
}

void StepArguments::Queue(std::int32_t layer,
                          const DeviceDigestMaps* maps,
                          const Stream& stream) const {
  const DeviceDigestMaps::Layer* map = maps == nullptr ? nullptr : &maps->layer(layer);
  const bool selects = map != nullptr && map->slot >= 0;
  ApplyRope(stream, rotated_queries);
  ApplyRope(stream, rotated_keys);
  if (selects) {
    CompressQueriesArgs compress_here = compress;
    compress_here.map = map->query;
    ScoreRowsArgs score_here = score;
    score_here.slot = map->slot;
    CheckLaunch(LaunchCompressQueries(compress_here, stream.handle()), "cuda CompressQueries");
    CheckLaunch(LaunchScoreRows(score_here, stream.handle()), "cuda ScoreRows");
    CheckLaunch(LaunchMaxPool(pool, stream.handle()), "cuda MaxPool");
    CheckLaunch(LaunchTopK(top_k, stream.handle()), "cuda TopK");
    HashRowsArgs hash_here = hash;
    hash_here.layer = layer;
    CheckLaunch(LaunchHashRows(hash_here, stream.handle()), "cuda HashRows");
    AppendDigestsArgs digests_here = digests;
    digests_here.slot = map->slot;
    digests_here.map = map->key;
    CheckLaunch(LaunchAppendDigests(digests_here, stream.handle()), "cuda AppendDigests");
  }
  AppendKvArgs append_here = append;
  append_here.layer = layer;
  CheckLaunch(LaunchAppendKv(append_here, stream.handle()), "cuda AppendKv");
  RotateKeysArgs window_here = window;
  window_here.layer = layer;
  CheckLaunch(LaunchRotateKeys(window_here, stream.handle()), "cuda RotateKeys");
  const Reading& reading = selects ? selecting : plain;
  FetchRows(layer, reading.fetch, stream);
  AttendRows(layer, reading.attend, stream);
}

}  // namespace keyhole::cuda
