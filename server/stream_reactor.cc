#include "server/stream_reactor.h"

#include <chrono>
#include <utility>

#include "engine/request/error.h"
#include "engine/status_macros.h"
#include "server/status_map.h"

namespace keyhole {
namespace {

// Of the part that grows while a write is under way.
std::size_t ChunkBytes(const ChunkEvent& chunk) {
  std::size_t bytes = chunk.text.size() + chunk.token_ids.size() * sizeof(TokenId);
  for (const TokenInfo& info : chunk.logprobs) {
    bytes += sizeof(TokenInfo) + info.top.size() * sizeof(TokenLogprob);
  }
  return bytes;
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamReactor::Start(Call call,
                                                                 absl::StatusOr<Request> request,
                                                                 EncodeEvent encode) {
  auto* reactor = new StreamReactor(std::move(call), encode);
  const absl::Status status = reactor->Submit(std::move(request));
  if (!status.ok()) {
    const std::lock_guard lock(reactor->mutex_);
    reactor->Fail(status);
  }
  return reactor;
}

StreamReactor::StreamReactor(Call call, EncodeEvent encode)
    : encode_(encode),
      limits_(call.parts().stream_limits),
      slot_(call.parts().engine),
      streams_(call.parts().streams),
      finish_watch_(call),
      call_(std::move(call)) {}

absl::Status StreamReactor::Submit(absl::StatusOr<Request> request) {
  if (!request.ok()) return std::move(request).status();
  KEYHOLE_ASSIGN_OR_RETURN(Engine * engine, slot_->Get());
  model_revision_ = engine->model().revision;
  watched_ = true;
  streams_->Add(this);
  return EngineCall::Submit(engine, *std::move(request));
}

void StreamReactor::OnStarted(const StartedEvent& event) {
  const std::lock_guard lock(mutex_);
  call_.set_request_id(event.request_id);
  started_ = event;
  Advance();
}

void StreamReactor::OnProgress(const ProgressEvent& event) {
  const std::lock_guard lock(mutex_);
  progress_ = event;
  Advance();
}

void StreamReactor::OnChunk(ChunkEvent event) {
  bool overflow = false;
  {
    const std::lock_guard lock(mutex_);
    if (failed_ || ended_) return;
    if (chunk_) {
      Append(std::move(event), &*chunk_);
    } else {
      chunk_ = std::move(event);
    }
    overflow = writing_ && ChunkBytes(*chunk_) > limits_.outbox_bytes;
    if (overflow) {
      Fail(SlowReaderError());
    } else {
      Advance();
    }
  }
  if (overflow) CancelInEngine();
}

void StreamReactor::OnFinished(const FinishedEvent& event) {
  const std::lock_guard lock(mutex_);
  finished_ = event;
  Advance();
}

void StreamReactor::OnFailed(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  Fail(status);
}

void StreamReactor::OnWriteDone(bool ok) {
  if (!ok) CancelInEngine();  // OnCancel is on its way, too
  const std::lock_guard lock(mutex_);
  writing_ = false;
  outgoing_.Clear();
  if (!ok) {
    Fail(call_.CancelStatus());
  } else {
    Advance();
  }
}

void StreamReactor::OnCancel() {
  CancelInEngine();
  const std::lock_guard lock(mutex_);
  if (!ended_) Fail(call_.CancelStatus());
}

void StreamReactor::OnDone() {
  finish_watch_.Stop();
  if (watched_) streams_->Remove(this);
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  Release();
}

absl::Duration StreamReactor::CheckStall(Instant now) {
  absl::Duration stalled = absl::ZeroDuration();
  bool cancel = false;
  {
    const std::lock_guard lock(mutex_);
    if (!writing_ || done_) return stalled;
    stalled = absl::FromChrono(now - write_start_);
    cancel = stalled > limits_.stall && !failed_;
    if (cancel) Fail(SlowReaderError());
    // A client that reads on learns why its stream ended; one that does not is cut off.
    if (stalled > limits_.stall * 1.5) call_.context()->TryCancel();
  }
  if (cancel) CancelInEngine();
  return stalled;
}

void StreamReactor::Fail(const absl::Status& status) {
  if (!failed_ && !ended_) {
    failed_ = status;
    chunk_.reset();
  }
  Advance();
}

void StreamReactor::Advance() {
  if (writing_ || ended_) return;
  if (failed_) {
    ended_ = true;
    CountAbort(*failed_);
    call_.set_request_id(request_id());  // of one that failed before it started
    finish_watch_.Start(*failed_, 0);
    Finish(call_.End(*failed_));
  } else if (started_) {
    Write(*std::exchange(started_, std::nullopt));
  } else if (progress_) {
    Write(*std::exchange(progress_, std::nullopt));
  } else if (chunk_) {
    Write(*std::exchange(chunk_, std::nullopt));
  } else if (finished_) {
    ended_ = true;
    outgoing_ = encode_(*std::move(finished_), model_revision_);
    finish_watch_.Start(absl::OkStatus(), outgoing_.Length());
    StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), call_.End(absl::OkStatus()));
  }
}

void StreamReactor::Write(StreamEvent&& event) {
  outgoing_ = encode_(std::move(event), model_revision_);
  writing_ = true;
  write_start_ = std::chrono::steady_clock::now();
  StartWrite(&outgoing_);
}

void StreamReactor::CountAbort(const absl::Status& status) {
  const std::string reason = GetErrorDetail(status).reason;
  if (reason == reason::kSlowReader) call_.parts().metrics->OnStreamAborted("slow_reader");
  if (reason == reason::kCancelled) call_.parts().metrics->OnStreamAborted("cancel");
  if (reason == reason::kDeadlineExceeded) call_.parts().metrics->OnStreamAborted("deadline");
}

}  // namespace keyhole
