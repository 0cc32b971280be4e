# One image for all services: `altinn-events run --services …` says which of them a container is.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p altinn-events

FROM debian:bookworm-slim
# curl asks /readyz in health checks; the certificates are for webhooks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/altinn-events /usr/local/bin/
USER nobody
ENV LISTEN=0.0.0.0:5080 ADMIN_LISTEN=0.0.0.0:5081 LOG_JSON=true
EXPOSE 5080 5081
STOPSIGNAL SIGTERM
ENTRYPOINT ["altinn-events"]
CMD ["run"]
