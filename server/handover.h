// Tells a receiver that drops what it was given whether the giver still looks: exactly one of them
// reports the loss.
#pragma once

#include <atomic>

namespace keyhole {

// Thread: one giver and one receiver, each on any thread.
class Handover {
 public:
  // Giver, once the receiver said that it took the thing. False: it has been dropped already,
  // report it.
  bool Complete() { return Move(State::kTaken); }

  // Receiver, when it drops the thing without having used it. True: the giver has left, report it.
  bool Drop() { return !Move(State::kDropped); }

 private:
  enum class State { kOffered, kTaken, kDropped };

  bool Move(State to) {
    State expected = State::kOffered;
    return state_.compare_exchange_strong(expected, to);
  }

  std::atomic<State> state_{State::kOffered};
};

}  // namespace keyhole
