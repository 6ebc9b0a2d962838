#include "server/text_reactor.h"

#include <utility>

#include "engine/request/error.h"
#include "engine/status_macros.h"
#include "server/finish_watch.h"
#include "server/handover.h"

namespace keyhole {
namespace {

// The work is short and holds no pages, so a cancel need not stop it: it is only not begun. Until
// the work has ended the call, gRPC keeps the reactor.
class TextReactor final : public grpc::ServerUnaryReactor {
 public:
  TextReactor(Call call, grpc::ByteBuffer* response)
      : finish_watch_(call), call_(std::move(call)), response_(response) {}

  absl::Status Submit(absl::StatusOr<TextWork> work);

  void End(const absl::Status& status) {
    finish_watch_.Start(status, response_->Length());
    Finish(call_.End(status));
  }
  void OnDone() override {
    finish_watch_.Stop();
    delete this;
  }

 private:
  class Ticket;

  void Run(const Engine& engine, TextWork& work);

  FinishWatch finish_watch_;
  Call call_;
  grpc::ByteBuffer* response_;
  Handover handover_;  // of the ticket
};

// The work as the engine holds it; ends the call even if the engine is torn down before it ran.
class TextReactor::Ticket {
 public:
  explicit Ticket(TextReactor* reactor) : reactor_(reactor) {}
  Ticket(Ticket&& other) noexcept : reactor_(std::exchange(other.reactor_, nullptr)) {}
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket() {
    if (reactor_ != nullptr && reactor_->handover_.Drop()) reactor_->End(DrainingError());
  }

  TextReactor* Use() { return std::exchange(reactor_, nullptr); }

 private:
  TextReactor* reactor_;
};

absl::Status TextReactor::Submit(absl::StatusOr<TextWork> work) {
  if (!work.ok()) return std::move(work).status();
  KEYHOLE_ASSIGN_OR_RETURN(Engine * engine, call_.parts().engine->Get());
  const std::int64_t bytes = work->bytes;
  KEYHOLE_RETURN_IF_ERROR(engine->RunOnTextWorker(
      [ticket = Ticket(this), engine, work = *std::move(work)]() mutable {
        ticket.Use()->Run(*engine, work);
      },
      bytes));
  return handover_.Complete() ? absl::OkStatus() : DrainingError();
}

void TextReactor::Run(const Engine& engine, TextWork& work) {
  if (call_.context()->IsCancelled()) return End(call_.CancelStatus());
  auto bytes = work.run(engine);
  if (bytes.ok()) *response_ = *std::move(bytes);
  End(bytes.status());
}

}  // namespace

grpc::ServerUnaryReactor* StartTextCall(Call call,
                                        absl::StatusOr<TextWork> work,
                                        grpc::ByteBuffer* response) {
  auto* reactor = new TextReactor(std::move(call), response);
  const absl::Status status = reactor->Submit(std::move(work));
  if (!status.ok()) reactor->End(status);
  return reactor;
}

}  // namespace keyhole
