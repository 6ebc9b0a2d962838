#include "engine/parallel/rendezvous.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/time/clock.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr absl::Duration kPollPeriod = absl::Milliseconds(50);
constexpr const char* kSizeKey = "size";
constexpr const char* kRefusedKey = "refused";

std::string RankKey(std::int32_t rank) { return absl::StrCat("rank/", rank); }

absl::Status Unavailable(std::string_view what, const std::string& address, const char* cause) {
  return absl::UnavailableError(
      absl::StrCat("tensor parallel: ", std::string(what), " ", address, ": ", std::string(cause)));
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> Resolve(const HostPort& at, int socket_type) {
  addrinfo hints = {};
  hints.ai_socktype = socket_type;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(at.host.c_str(), at.port.c_str(), &hints, &found);
  if (error != 0) return Unavailable("cannot resolve", at.host, gai_strerror(error));
  return Addresses(found, freeaddrinfo);
}

// A socket that is given away or closed.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  int Give() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Bound to the address alone: the store would take every interface.
absl::StatusOr<int> Bind(const HostPort& at) {
  KEYHOLE_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(at, SOCK_STREAM));
  Socket bound(socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(bound.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(bound.fd(), addresses->ai_addr, addresses->ai_addrlen) != 0) {
    return Unavailable(
        "cannot listen at", absl::StrCat(at.host, ":", at.port), std::strerror(errno));
  }
  return bound.Give();
}

// The address of this machine on the way to rank 0. Connecting a datagram socket sends nothing.
absl::StatusOr<std::string> OwnHost(const HostPort& root) {
  KEYHOLE_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(root, SOCK_DGRAM));
  const Socket probe(socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own = {};
  socklen_t size = sizeof(own);
  char text[NI_MAXHOST] = {};
  if (connect(probe.fd(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      getsockname(probe.fd(), reinterpret_cast<sockaddr*>(&own), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&own),
                  size,
                  text,
                  sizeof(text),
                  nullptr,
                  0,
                  NI_NUMERICHOST) != 0) {
    return Unavailable("no way to", root.host, std::strerror(errno));
  }
  return std::string(text);
}

// The store's own attempts would fill the log.
absl::Status WaitForRoot(const HostPort& root, absl::Time deadline) {
  KEYHOLE_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(root, SOCK_STREAM));
  for (;;) {
    const Socket attempt(socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(attempt.fd(), addresses->ai_addr, addresses->ai_addrlen) == 0) {
      return absl::OkStatus();
    }
    if (absl::Now() >= deadline) {
      return Unavailable("rank 0 does not answer at",
                         absl::StrCat(root.host, ":", root.port),
                         std::strerror(errno));
    }
    absl::SleepFor(kPollPeriod);
  }
}

std::vector<std::uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string Text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

absl::Status WaitForRanks(c10d::Store& store, const TensorParallelSettings& settings) {
  const absl::Time deadline = absl::Now() + settings.start_timeout;
  std::vector<std::int32_t> missing;
  for (std::int32_t rank = 1; rank < settings.size; ++rank) missing.push_back(rank);
  for (;;) {
    if (store.check({kRefusedKey})) {
      return absl::InvalidArgumentError(Text(store.get(kRefusedKey)));
    }
    std::erase_if(missing, [&](std::int32_t rank) { return store.check({RankKey(rank)}); });
    if (missing.empty()) return absl::OkStatus();
    if (absl::Now() >= deadline) {
      return absl::UnavailableError(absl::StrCat("tensor parallel: of ranks 0 to ",
                                                 settings.size - 1,
                                                 " these have not come to ",
                                                 settings.address,
                                                 ": ",
                                                 absl::StrJoin(missing, ", ")));
    }
    absl::SleepFor(kPollPeriod);
  }
}

// Tells rank 0, too.
absl::Status Refuse(c10d::Store& store, const std::string& cause) {
  store.set(kRefusedKey, Bytes(cause));
  return absl::InvalidArgumentError(cause);
}

absl::Status Register(c10d::Store& store, const TensorParallelSettings& settings) {
  const std::string size = Text(store.get(kSizeKey));
  if (size != absl::StrCat(settings.size)) {
    return Refuse(store,
                  absl::StrCat("tensor parallel: rank ",
                               settings.rank,
                               " was started with a size of ",
                               settings.size,
                               ", rank 0 with ",
                               size));
  }
  if (store.add(RankKey(settings.rank), 1) > 1) {
    return Refuse(store,
                  absl::StrCat("tensor parallel: two processes have the rank ", settings.rank));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Rendezvous> Meet(const TensorParallelSettings& settings) {
  const HostPort root = SplitHostPort(settings.address).value_or(HostPort());
  c10d::TCPStoreOptions options;
  int port = 0;
  if (!absl::SimpleAtoi(root.port, &port)) {
    return absl::InvalidArgumentError("tensor parallel: the address has no port");
  }
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = settings.rank == 0;
  options.waitWorkers = false;
  options.timeout = absl::ToChronoMilliseconds(settings.start_timeout);
  if (options.isServer) {
    KEYHOLE_ASSIGN_OR_RETURN(options.masterListenFd, Bind(root));
  } else {
    KEYHOLE_RETURN_IF_ERROR(WaitForRoot(root, absl::Now() + settings.start_timeout));
  }
  Rendezvous meeting;
  meeting.store = c10::make_intrusive<c10d::TCPStore>(root.host, options);
  if (options.isServer) {
    meeting.store->set(kSizeKey, Bytes(absl::StrCat(settings.size)));
    KEYHOLE_RETURN_IF_ERROR(WaitForRanks(*meeting.store, settings));
  } else {
    KEYHOLE_RETURN_IF_ERROR(Register(*meeting.store, settings));
  }
  KEYHOLE_ASSIGN_OR_RETURN(meeting.own_host, OwnHost(root));
  return meeting;
}

}  // namespace keyhole
