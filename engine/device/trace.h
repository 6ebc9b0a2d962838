// Where the time of the executor's steps goes, as a file that chrome://tracing and ui.perfetto.dev
// show.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keyhole {

// A JSON array in Chrome's trace event format. Spans are kept until their step ends, so that
// writing is in none of them; after the last of its steps it is complete and takes nothing any
// more. Each thread has a track of its own. Owner: the engine. Thread: executor, and compute
// threads while they work for it.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;

  // For the first `n_steps` steps. Replaces the file. Errors: INVALID_ARGUMENT where it cannot be
  // written to.
  static absl::StatusOr<std::unique_ptr<Trace>> Create(const std::string& path,
                                                       std::int64_t n_steps);

  // `name` stays. `number` is shown beside it; -1: none.
  void Add(const char* name, Clock::time_point begin, Clock::time_point end, std::int64_t number);

  // Writes what was added. Errors: of the file, once; no more is written then.
  absl::Status EndStep();

  bool is_open() const { return file_ != nullptr; }

 private:
  struct Span {
    const char* name;
    Clock::time_point begin;
    Clock::time_point end;
    std::int64_t number;
    int track;
  };
  struct Close {
    void operator()(std::FILE* file) const;
  };

  Trace(std::FILE* file, std::int64_t n_steps)
      : file_(file), steps_left_(n_steps), start_(Clock::now()) {}

  int TrackOf(std::thread::id thread);

  std::unique_ptr<std::FILE, Close> file_;
  std::int64_t steps_left_;
  Clock::time_point start_;
  bool first_ = true;        // no span is written yet
  std::mutex mutex_;         // of those below
  std::vector<Span> spans_;  // of this step
  std::vector<std::thread::id> tracks_;
};

// A span of `trace` from its construction to its end; without a trace it costs nothing.
class TraceSpan {
 public:
  explicit TraceSpan(Trace* trace, const char* name, std::int64_t number = -1)
      : trace_(trace != nullptr && trace->is_open() ? trace : nullptr),
        name_(name),
        number_(number) {
    if (trace_ != nullptr) begin_ = Trace::Clock::now();
  }
  ~TraceSpan() {
    if (trace_ != nullptr) trace_->Add(name_, begin_, Trace::Clock::now(), number_);
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  const char* name_;
  std::int64_t number_;
  Trace::Clock::time_point begin_;
};

}  // namespace keyhole
