#include "tests/support/fake_device/fake_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/check.h"
#include "engine/device/device_buffer.h"
#include "engine/device/device_copy.h"
#include "engine/device/event.h"
#include "engine/device/gpu.h"
#include "engine/device/pinned_buffer.h"

namespace {

// A mark in a stream, made anew by each Record: those who wait for an older one keep it.
struct Mark {
  CUstream_st* stream = nullptr;
  bool done = false;
  absl::Status status = {};
};

struct Work {
  std::function<absl::Status()> run = nullptr;  // or
  std::shared_ptr<Mark> record = nullptr;       // or
  std::shared_ptr<Mark> wait = nullptr;
  // Of a copy.
  const std::byte* from = nullptr;
  const std::byte* to = nullptr;
};

}  // namespace

struct CUstream_st {
  std::deque<Work> work;
  absl::Status failure;  // of work that no mark has reported yet
  bool gone = false;     // its owner is; what is queued runs all the same
};

struct CUevent_st {
  std::shared_ptr<Mark> mark;
};

namespace keyhole {
namespace {

using fake_device::Call;

struct Failure {
  absl::Status status;
  int after = 0;
};

struct Machine {
  std::size_t capacity = 0;
  std::size_t in_use = 0;
  std::int64_t n_copies = 0;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::map<void*, std::size_t> sizes;
  std::map<Call, Failure> calls;
  Failure running_copy;
};

Machine machine;

absl::Status Take(Failure& failure) {
  if (failure.status.ok() || failure.after-- > 0) return absl::OkStatus();
  return std::exchange(failure.status, absl::OkStatus());
}

absl::Status TakeCall(Call call) { return Take(machine.calls[call]); }

bool CanGoOn(const CUstream_st& stream) {
  return !stream.work.empty() &&
         (stream.work.front().wait == nullptr || stream.work.front().wait->done);
}

void RunNext(CUstream_st& stream) {
  Work work = std::move(stream.work.front());
  stream.work.pop_front();
  if (work.wait != nullptr) {
    stream.failure.Update(work.wait->status);
  } else if (work.record != nullptr) {
    work.record->done = true;
    work.record->status = std::exchange(stream.failure, absl::OkStatus());
  } else {
    stream.failure.Update(work.run());
  }
}

// Until `done`; only `stream` and those that it waits for.
void RunUntil(CUstream_st& stream, const std::function<bool()>& done) {
  while (!done()) {
    if (!CanGoOn(stream)) {
      const std::shared_ptr<Mark> mark = stream.work.front().wait;
      RunUntil(*mark->stream, [&mark] { return mark->done; });
    }
    RunNext(stream);
  }
}

void Drain(CUstream_st& stream) {
  RunUntil(stream, [&stream] { return stream.work.empty(); });
}

// Streams whose owners are gone stay until they are empty.
void Sweep() {
  std::erase_if(machine.streams,
                [](const auto& stream) { return stream->gone && stream->work.empty(); });
}

bool IsCopied(const std::byte* begin, const std::byte* end) {
  const auto inside = [&](const std::byte* p) { return p >= begin && p < end; };
  return std::any_of(machine.streams.begin(), machine.streams.end(), [&](const auto& stream) {
    return std::any_of(stream->work.begin(), stream->work.end(), [&](const Work& work) {
      return inside(work.from) || inside(work.to);
    });
  });
}

}  // namespace

namespace fake_device {

void Reset(std::size_t bytes) {
  for (const auto& stream : machine.streams) Drain(*stream);
  Sweep();
  KEYHOLE_CHECK(machine.streams.empty(), "a stream outlives its device");
  machine = {};
  machine.capacity = bytes;
}

void Enqueue(const Stream& stream, std::function<void()> work) {
  stream.handle()->work.push_back({.run = [work = std::move(work)] {
    work();
    return absl::OkStatus();
  }});
}

int Run(int n, const std::function<int(int)>& choose) {
  int n_run = 0;
  for (; n_run < n; ++n_run) {
    std::vector<CUstream_st*> ready;
    for (const auto& stream : machine.streams) {
      if (CanGoOn(*stream)) ready.push_back(stream.get());
    }
    if (ready.empty()) break;
    RunNext(*ready[choose(static_cast<int>(ready.size()))]);
  }
  Sweep();
  return n_run;
}

void FailCall(Call call, absl::Status status, int after) {
  machine.calls[call] = {std::move(status), after};
}
void FailRunningCopy(absl::Status status, int after) {
  machine.running_copy = {std::move(status), after};
}
bool AllFailuresHappened() {
  return machine.running_copy.status.ok() &&
         std::all_of(machine.calls.begin(), machine.calls.end(), [](const auto& call) {
           return call.second.status.ok();
         });
}
void ClearFailures() {
  machine.calls.clear();
  machine.running_copy = {};
}
std::int64_t CopyCount() { return machine.n_copies; }
std::size_t BytesInUse() { return machine.in_use; }

}  // namespace fake_device

bool BuiltWithCuda() { return true; }
absl::StatusOr<GpuInfo> OpenGpu(int) {
  return GpuInfo{.name = "fake",
                 .total_bytes = machine.capacity,
                 .free_bytes = machine.capacity - machine.in_use};
}

absl::StatusOr<Stream> Stream::Create() {
  if (absl::Status status = TakeCall(Call::kCreate); !status.ok()) return status;
  machine.streams.push_back(std::make_unique<CUstream_st>());
  return Stream(machine.streams.back().get());
}
absl::Status Stream::Synchronize() const {
  Drain(*handle());
  return std::exchange(handle()->failure, absl::OkStatus());
}
absl::Status Stream::WaitFor(const Event& event) const {
  if (absl::Status status = TakeCall(Call::kWait); !status.ok()) return status;
  if (event.handle()->mark != nullptr) handle()->work.push_back({.wait = event.handle()->mark});
  return absl::OkStatus();
}
void Stream::Destroy::operator()(CUstream_st* handle) const {
  handle->gone = true;
  Sweep();
}

absl::StatusOr<Event> Event::Create(Timing) {
  if (absl::Status status = TakeCall(Call::kCreate); !status.ok()) return status;
  return Event(new CUevent_st);
}
absl::Status Event::Record(const Stream& stream) const {
  if (absl::Status status = TakeCall(Call::kRecord); !status.ok()) return status;
  handle()->mark = std::make_shared<Mark>(Mark{.stream = stream.handle()});
  stream.handle()->work.push_back({.record = handle()->mark});
  return absl::OkStatus();
}
absl::StatusOr<bool> Event::Done() const {
  const std::shared_ptr<Mark>& mark = handle()->mark;
  if (mark == nullptr) return true;
  if (mark->done && !mark->status.ok()) return mark->status;
  return mark->done;
}
absl::Status Event::Synchronize() const {
  const std::shared_ptr<Mark> mark = handle()->mark;
  if (mark == nullptr) return absl::OkStatus();
  if (!mark->done) RunUntil(*mark->stream, [&mark] { return mark->done; });
  return mark->status;
}
absl::StatusOr<float> Event::MillisecondsSince(const Event&) const { return 0.0F; }
void Event::Destroy::operator()(CUevent_st* handle) const { delete handle; }

absl::StatusOr<PinnedBuffer> PinnedBuffer::Allocate(std::size_t bytes) {
  PinnedBuffer buffer;
  if (bytes == 0) return buffer;
  buffer.data_ = static_cast<std::byte*>(std::malloc(bytes));
  buffer.size_ = bytes;
  buffer.pinned_ = true;
  return buffer;
}
PinnedBuffer::~PinnedBuffer() { std::free(data_); }

absl::StatusOr<DeviceBuffer> DeviceBuffer::Allocate(const Stream& stream, std::size_t bytes) {
  if (absl::Status status = TakeCall(Call::kAllocate); !status.ok()) return status;
  if (bytes > machine.capacity - machine.in_use) {
    return absl::ResourceExhaustedError("the fake device is full");
  }
  DeviceBuffer buffer;
  if (bytes == 0) return buffer;
  buffer.data_ = std::malloc(bytes);
  std::memset(buffer.data_, 0xFF, bytes);
  buffer.size_ = bytes;
  buffer.stream_ = stream.handle();
  machine.sizes[buffer.data_] = bytes;
  machine.in_use += bytes;
  return buffer;
}
DeviceBuffer::~DeviceBuffer() {
  if (data_ == nullptr) return;
  Drain(*stream_);
  const std::byte* begin = data<>();
  KEYHOLE_CHECK(!IsCopied(begin, begin + size_), "memory goes after the copies that use it");
  machine.in_use -= machine.sizes[data_];
  machine.sizes.erase(data_);
  std::free(data_);
}

absl::Status CopyAsync(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (absl::Status status = TakeCall(Call::kCopy); !status.ok()) return status;
  ++machine.n_copies;
  const auto copy = [to, from, bytes] {
    absl::Status status = Take(machine.running_copy);
    std::memcpy(to, from, status.ok() ? bytes : bytes / 2);
    return status;
  };
  stream.handle()->work.push_back({.run = copy,
                                   .from = static_cast<const std::byte*>(from),
                                   .to = static_cast<const std::byte*>(to)});
  return absl::OkStatus();
}
absl::Status FillAsync(const Stream& stream, void* to, int value, std::size_t bytes) {
  fake_device::Enqueue(stream, [to, value, bytes] { std::memset(to, value, bytes); });
  return absl::OkStatus();
}

}  // namespace keyhole
