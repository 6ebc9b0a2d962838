// Captured work by what it was captured for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/device/graph.h"
#include "engine/status_macros.h"

namespace keyhole {

// Equal keys stand for work that queues the same: what differs between two runs lies in memory that
// the key names. The first run with a key queues the work itself, so that what it takes of memory
// is there; the second captures it; later ones launch what was captured. The least recently used
// key goes first. Owner: the model executor. Thread: executor only.
template <typename Key>
class GraphCache {
 public:
  explicit GraphCache(std::size_t capacity) : capacity_(capacity) {}

  // Errors: those of `work`, also as it throws them, and of Graph.
  absl::Status Run(const Stream& stream, const Key& key, absl::FunctionRef<absl::Status()> work) {
    const auto found = std::find_if(
        entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
    if (found == entries_.end()) {
      KEYHOLE_RETURN_IF_ERROR(work());
      entries_.push_front({key, std::nullopt});
      if (entries_.size() > capacity_) entries_.pop_back();
      return absl::OkStatus();
    }
    entries_.splice(entries_.begin(), entries_, found);
    std::optional<Graph>& graph = entries_.front().graph;
    if (!graph.has_value()) {
      KEYHOLE_ASSIGN_OR_RETURN(graph, Graph::Capture(stream, work));
      ++n_captures_;
    }
    return graph->Launch(stream);
  }

  std::int64_t n_captures() const { return n_captures_; }

 private:
  struct Entry {
    Key key;
    std::optional<Graph> graph;
  };

  std::size_t capacity_;
  std::list<Entry> entries_;  // most recently used first
  std::int64_t n_captures_ = 0;
};

}  // namespace keyhole
