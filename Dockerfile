# syntax=docker/dockerfile:1
#
# Targets: `tamiz`, the command and every operator in a small image; `assets`, the same with the registry
# clients that `tamiz assets install` calls, used once to fill the volume of reference data. The data is in
# no image: its licences differ from ours, and it is renewed more often.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
# The image has the toolchain that rust-toolchain.toml names, but not the lint and format components, which
# are not needed here and would be downloaded.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /source
COPY . .
# The target folder lives in a cache that is gone after this step, so the binaries are taken out of it here.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --release --locked --workspace --bins \
    && mkdir /binaries \
    && find target/release -maxdepth 1 -type f -executable -exec cp --target-directory=/binaries {} + \
    && strip --strip-debug /binaries/*

FROM debian:bookworm-slim AS tamiz
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/tamiz --shell /usr/sbin/nologin tamiz \
    # A volume takes its owner from the folder that it covers.
    && install --directory --owner=tamiz --group=tamiz /var/lib/tamiz /var/lib/tamiz/assets /var/lib/tamiz/state
COPY --from=build /binaries/ /usr/local/bin/
COPY deploy/ready /usr/local/bin/ready
USER tamiz
WORKDIR /var/lib/tamiz
# HTTP, and metrics with health.
EXPOSE 8080 9464
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 CMD ["ready"]
CMD ["tamiz", "up"]

FROM tamiz AS assets
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends npm python3-pip \
    && rm -rf /var/lib/apt/lists/*
USER tamiz
HEALTHCHECK NONE
CMD ["tamiz", "assets", "install"]

# What is built when no target is named.
FROM tamiz
