// Captured work by what it was captured for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/device/device_error.h"
#include "engine/device/gpu.h"
#include "engine/device/graph.h"
#include "engine/status_macros.h"

namespace keyhole {

// Equal keys stand for work that queues the same: what differs between two runs lies in memory that
// the key names. The first run with a key queues the work itself, so that what it takes of memory
// is there; the second captures it; later ones launch what was captured. Work that cannot be
// captured or launched runs as it is, then and with every later run of its key. The least recently
// used key goes first. Owner: the model executor. Thread: executor only, where no other is named.
template <typename Key>
class GraphCache {
 public:
  static constexpr std::size_t kAnyBytes = std::numeric_limits<std::size_t>::max();

  // Keys, and device memory that their graphs may take but for the newest, which nothing else
  // counts. Ranks capture the same only where memory does not decide.
  explicit GraphCache(std::size_t capacity, std::size_t most_bytes = kAnyBytes)
      : capacity_(capacity), most_bytes_(most_bytes) {}

  // Errors: those of `work`, also as it throws them; sticky ones of Graph.
  absl::Status Run(const Stream& stream, const Key& key, absl::FunctionRef<absl::Status()> work) {
    const auto found = std::find_if(
        entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
    if (found == entries_.end()) {
      KEYHOLE_RETURN_IF_ERROR(work());
      entries_.push_front({.key = key});
      if (entries_.size() > capacity_) entries_.pop_back();
      return absl::OkStatus();
    }
    entries_.splice(entries_.begin(), entries_, found);
    Entry& entry = entries_.front();
    if (!entry.capturable) return work();
    absl::Status status = Launch(stream, entry, work);
    if (status.ok() || IsSticky(status)) return status;
    entry.captured.reset();
    KEYHOLE_RETURN_IF_ERROR(work());  // where it fails by itself, capturing is not to blame
    entry.capturable = false;
    failure_.Update(status);
    return absl::OkStatus();
  }

  // Forgets every key. Thread: any, while no Run does.
  void Clear() { entries_.clear(); }

  std::int64_t n_captures() const { return n_captures_; }

  // Why work could not be captured or launched, the first time.
  const absl::Status& failure() const { return failure_; }

 private:
  struct Captured {
    Graph graph;
    std::size_t bytes = 0;  // of device memory
  };
  struct Entry {
    Key key;
    std::optional<Captured> captured = {};
    bool capturable = true;
  };

  absl::Status Launch(const Stream& stream, Entry& entry, absl::FunctionRef<absl::Status()> work) {
    if (entry.captured.has_value()) return entry.captured->graph.Launch(stream);
    const std::size_t before = FreeGpuBytes().value_or(0);
    KEYHOLE_ASSIGN_OR_RETURN(Graph graph, Graph::Capture(stream, work));
    ++n_captures_;
    KEYHOLE_RETURN_IF_ERROR(graph.Launch(stream));
    const std::size_t bytes = before - std::min(before, FreeGpuBytes().value_or(before));
    entry.captured.emplace(Captured{std::move(graph), bytes});
    DropGraphs();
    return absl::OkStatus();
  }

  // Least recently used first, until the others take no more than they may.
  void DropGraphs() {
    const auto bytes_of = [](const Entry& entry) {
      return entry.captured.has_value() ? entry.captured->bytes : 0;
    };
    std::size_t bytes = 0;
    for (const Entry& entry : entries_) bytes += bytes_of(entry);
    for (auto entry = entries_.rbegin(); bytes > most_bytes_ && &*entry != &entries_.front();
         ++entry) {
      bytes -= bytes_of(*entry);
      entry->captured.reset();
    }
  }

  std::size_t capacity_;
  std::size_t most_bytes_;
  std::list<Entry> entries_;  // most recently used first
  std::int64_t n_captures_ = 0;
  absl::Status failure_;
};

}  // namespace keyhole
