# meterd against external engines: CLICKHOUSE_URL and DATABASE_URL say where they are. The embedded ones are left out.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production METERD_DATA_DIR=/data METERD_LISTEN=0.0.0.0:8080
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY gen gen
COPY src src
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=16", "src/main.ts"]
