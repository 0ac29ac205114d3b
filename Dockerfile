# syntax=docker/dockerfile:1
# The server and all its commands in one image, without a shell's help and without root.
#   docker build -t streamgauge .
#   docker run -p 127.0.0.1:8080:8080 -e STREAMGAUGE_ADMIN_KEY="$(openssl rand -hex 32)" -v data:/var/lib/streamgauge streamgauge

FROM node:20-bookworm-slim AS dashboard
WORKDIR /src/web
COPY web/ .
RUN npm ci && npm run build

FROM rust:1.90-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=dashboard /src/web/dist web/dist
# SQLite and Kafka's client are compiled in; the image of Rust has the compilers, OpenSSL's headers and zlib's.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin streamgauge \
    && install -D target/release/streamgauge /image/usr/local/bin/streamgauge \
    && install -d -o 65532 -g 65532 -m 0750 /image/var/lib/streamgauge

FROM debian:12-slim
# Debian's stable release changes only to mend faults of security: the newest is the right one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /image/ /
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/streamgauge/
ENV STREAMGAUGE_DATA_DIR=/var/lib/streamgauge
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
VOLUME /var/lib/streamgauge
WORKDIR /var/lib/streamgauge
EXPOSE 8080
# Two time-outs of the command itself, so that it is the one to say what is wrong.
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/streamgauge", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/streamgauge"]
# Reached from outside, it starts only with STREAMGAUGE_ADMIN_KEY or another key, or with STREAMGAUGE_AUTH=off where something in front guards it.
CMD ["serve", "--listen", "0.0.0.0:8080"]
