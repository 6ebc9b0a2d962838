// A TCP port for a server of a test.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <random>

namespace keyhole::testing {

// One of the loopback interface that nobody listens at. It is none of those that the system gives
// to outgoing connections (32768 and above), which would take it in the meantime.
inline int FreePort() {
  std::random_device random;
  for (;;) {
    const int port = std::uniform_int_distribution<int>(10000, 32000)(random);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool is_free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (is_free) return port;
  }
}

}  // namespace keyhole::testing
