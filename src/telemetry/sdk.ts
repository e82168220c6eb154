import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { NodeSDK } from '@opentelemetry/sdk-node';

/** OpenTelemetry, started. */
export interface Telemetry {
  /** All metrics in Prometheus' text format. */
  scrape(): Promise<string>;
  /** Sends what is left. */
  stop(): Promise<void>;
}

/**
 * Starts OpenTelemetry: metrics are read from `/metrics`; traces leave only where `OTEL_EXPORTER_OTLP_ENDPOINT` or
 * `OTEL_TRACES_EXPORTER` says where to. Call it before the first instrument is made.
 */
export function startTelemetry(environment: Readonly<Record<string, string | undefined>>): Telemetry {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const serializer = new PrometheusSerializer();
  const sendsTraces = [
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    'OTEL_TRACES_EXPORTER',
  ].some((variable) => environment[variable]);
  const sdk = new NodeSDK({
    serviceName: 'meterd',
    autoDetectResources: false,
    metricReaders: [exporter],
    logRecordProcessors: [],
    ...(sendsTraces ? {} : { spanProcessors: [] }),
  });
  sdk.start();
  return {
    async scrape() {
      const { resourceMetrics, errors } = await exporter.collect();
      if (errors.length > 0) throw new AggregateError(errors, 'some metrics could not be collected');
      return serializer.serialize(resourceMetrics);
    },
    stop: () => sdk.shutdown(),
  };
}
