#include "engine/device/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace keyhole {
namespace {

double Microseconds(Trace::Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

}  // namespace

// An array needs no closing bracket in this format: a process that is killed leaves a good file.
void Trace::Close::operator()(std::FILE* file) const { std::fclose(file); }

absl::StatusOr<std::unique_ptr<Trace>> Trace::Create(const std::string& path,
                                                     std::int64_t n_steps) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot write the trace ", path, ": ", absl::ErrnoToStatus(errno, "").message()));
  }
  return std::unique_ptr<Trace>(new Trace(file, n_steps));
}

void Trace::Add(const char* name,
                Clock::time_point begin,
                Clock::time_point end,
                std::int64_t number) {
  const std::lock_guard lock(mutex_);
  spans_.push_back({name, begin, end, number, TrackOf(std::this_thread::get_id())});
}

int Trace::TrackOf(std::thread::id thread) {
  auto track = std::ranges::find(tracks_, thread);
  if (track == tracks_.end()) track = tracks_.insert(track, thread);
  return static_cast<int>(track - tracks_.begin()) + 1;
}

absl::Status Trace::EndStep() {
  if (!is_open()) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  fmt::memory_buffer text;
  for (const Span& span : spans_) {
    fmt::format_to(fmt::appender(text),
                   R"({}{{"ph":"X","pid":1,"tid":{},"name":"{}","ts":{:.3f},"dur":{:.3f})",
                   first_ ? "[\n" : ",\n",
                   span.track,
                   span.name,
                   Microseconds(span.begin - start_),
                   Microseconds(span.end - span.begin));
    first_ = false;
    if (span.number >= 0) fmt::format_to(fmt::appender(text), R"(,"args":{{"n":{}}})", span.number);
    fmt::format_to(fmt::appender(text), "}}");
  }
  spans_.clear();
  --steps_left_;
  if (steps_left_ == 0) fmt::format_to(fmt::appender(text), "\n]\n");
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size() &&
                       std::fflush(file_.get()) == 0;
  const int error = errno;
  if (steps_left_ == 0 || !written) file_.reset();
  if (written) return absl::OkStatus();
  return absl::ErrnoToStatus(error, "the trace ends here");
}

}  // namespace keyhole
