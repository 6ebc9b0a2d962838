#include "tests/bench/gpu/gpu_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/device/event.h"
#include "engine/device/graph.h"

namespace keyhole {
namespace {

constexpr int kGroups = 9;
constexpr double kGroupMicroseconds = 2000;  // long against the events' grain

}  // namespace

GpuBench::GpuBench(bool check)
    : check_(check),
      gpu_(ValueOrThrow(OpenGpu(0))),
      stream_(ValueOrThrow(Stream::Create())),
      workspace_(stream_) {
  const std::size_t bytes = check ? 1 << 16 : std::size_t{1} << 30;
  std::byte* from = Take<std::byte>(bytes);
  std::byte* to = Take<std::byte>(bytes);
  const Microseconds time = Time([&] { Copy(to, from, bytes); });
  device_bandwidth_ = 2.0 * static_cast<double>(bytes) / time.median * 1e6;
  Forget();
}

std::byte* GpuBench::TakeBytes(std::size_t bytes) {
  buffers_.push_back(ValueOrThrow(DeviceBuffer::Allocate(stream_, bytes)));
  ThrowIfFailed(FillAsync(stream_, buffers_.back().data(), 0, bytes));
  return buffers_.back().data();
}

void GpuBench::Copy(void* to, const void* from, std::size_t bytes) {
  ThrowIfFailed(CopyAsync(stream_, to, from, bytes));
}

void GpuBench::Forget() {
  ThrowIfFailed(stream_.Synchronize());
  buffers_.clear();
}

Microseconds GpuBench::Time(const std::function<void()>& call, Calls calls) {
  const Event begin = ValueOrThrow(Event::Create(Event::Timing::kYes));
  const Event end = ValueOrThrow(Event::Create(Event::Timing::kYes));
  const auto time = [&](const std::function<void()>& work) {
    work();  // while this runs, what is measured is queued
    ThrowIfFailed(begin.Record(stream_));
    work();
    ThrowIfFailed(end.Record(stream_));
    ThrowIfFailed(stream_.Synchronize());
    return 1000.0 * ValueOrThrow(end.MillisecondsSince(begin));
  };
  const double once = check_ ? kGroupMicroseconds : std::min(time(call), time(call));
  const int n = std::clamp(static_cast<int>(kGroupMicroseconds / once), 1, 200);
  const auto launch = [&] {
    for (int i = 0; i < n; ++i) call();
    return absl::OkStatus();
  };
  std::optional<Graph> graph;
  if (calls == Calls::kCaptured) graph = ValueOrThrow(Graph::Capture(stream_, launch));
  const auto group = [&] { ThrowIfFailed(graph.has_value() ? graph->Launch(stream_) : launch()); };
  std::vector<double> times(check_ ? 1 : kGroups);
  for (double& of_call : times) of_call = time(group) / n;
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

void GpuBench::Print(const std::string& name, const std::string& fields) const {
  fmt::print("{{\"bench\": \"{}\", \"gpu\": \"{}\", {}}}\n", name, gpu_.name, fields);
  std::fflush(stdout);
}

}  // namespace keyhole
