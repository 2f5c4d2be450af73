# syntax=docker/dockerfile:1
# The image as a registry has it, for amd64 and arm64: docker buildx build --platform linux/amd64,linux/arm64 .
# tools/image.sh builds the same without a daemon.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
ARG TARGETARCH
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3 \
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-x86-64-linux-gnu libc6-dev-amd64-cross && \
    rustup target add x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    tools/image.sh "$TARGETARCH" && \
    cp target/image-build/*-unknown-linux-gnu/release/encrypted-queue /encrypted-queue

FROM scratch
LABEL org.opencontainers.image.source="https://github.com/encrypted-queue-operator/encrypted-queue-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /encrypted-queue /encrypted-queue
USER 65532:65532
ENTRYPOINT ["/encrypted-queue"]
