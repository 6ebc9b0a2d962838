# syntax=docker/dockerfile:1
# Image of keyhole-server: docker build -t keyhole/keyhole-server:0.1.0 .
# Stages: deps (system packages, LibTorch), build, test (`--target test` runs the C++ tests), runtime (last, the default).
ARG CUDA_VERSION=13.0.2

FROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04 AS deps
# setup.sh puts everything under $XDG_CACHE_HOME/keyhole, the place that the programs' run paths name afterwards.
ENV XDG_CACHE_HOME=/opt
WORKDIR /src
COPY deploy/common.sh deploy/setup.sh deploy/
COPY deploy/dependencies deploy/dependencies
RUN deploy/setup.sh --no-model && rm -rf /var/lib/apt/lists/*

FROM deps AS build
ARG PRESET=cpu-release
ENV CCACHE_DIR=/ccache
COPY CMakeLists.txt CMakePresets.json ./
COPY deploy/cmake deploy/cmake
COPY proto proto
COPY engine engine
COPY server server
COPY client client
COPY tests/CMakeLists.txt tests/CMakeLists.txt
COPY deploy/image deploy/image
RUN --mount=type=cache,target=/ccache \
    cmake --preset "${PRESET}" -B /build -DKEYHOLE_TESTS=OFF -DKEYHOLE_BENCH=OFF -DKEYHOLE_DEPS_DIR=/opt/keyhole/deps \
    && cmake --build /build --target keyhole-server keyhole keyhole-calibrate \
    && deploy/image/collect.sh /build /rootfs

FROM build AS test
COPY . .
RUN deploy/setup.sh --with-tests && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/ccache tests/run.sh --only build --only unit

FROM nvidia/cuda:${CUDA_VERSION}-base-ubuntu24.04 AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="keyhole-server" \
      org.opencontainers.image.description="gRPC server for long-context LLM inference" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /rootfs/ /
RUN --mount=type=bind,source=deploy,target=/mnt/deploy /mnt/deploy/image/install_runtime.sh "${VERSION}" "${CREATED}"
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8480 9480
ENTRYPOINT ["/usr/local/bin/keyhole-server"]
CMD ["--config", "/etc/keyhole/server.conf"]
