import type { ClickHouseClient } from '@clickhouse/client';

/** Rows of one customer. The id is written in hexadecimal: no quote in it can end the text that it is in. */
const OWN = (customerHex: string): string => `customer_id = unhex('${customerHex}')`;
/** A host may leave out whose VM it tells of: such notices count for who used the VM, and the VM is looked up among the rows above. */
const OWN_OR_UNNAMED = (customerHex: string): string => `customer_id IN (unhex('${customerHex}'), '')`;
const NONE = (): string => '0';
/** Heartbeats name the VMs of a host, whoever they are of, and nothing else: a filter by customer is not possible. */
const ALL = undefined;

/** What a customer sees of each table. A table that is missing here would be seen whole: a test says that none is. */
export const SHOWN_TO_CUSTOMERS: Readonly<Record<string, ((customerHex: string) => string) | undefined>> = {
  windows: OWN,
  usage_hours: OWN,
  usage_estimates: OWN,
  touched_hours: OWN,
  counter_samples: OWN,
  conflict_resolutions: OWN,
  conflicting_readings: OWN,
  refused_windows: OWN,
  vm_events: OWN_OR_UNNAMED,
  key_customers: OWN_OR_UNNAMED,
  heartbeats: ALL,
  audit_anchors: NONE,
  schema_migrations: NONE,
};

/**
 * ClickHouse as one customer may read it: with each statement ClickHouse is told which rows of each table there are, and takes
 * no others, whatever the statement says. (`additional_table_filters`, for the tables of the client's own database.)
 *
 * These are no row policies, which need a user of their own: the embedded ClickHouse has nowhere to keep users.
 */
export function customerReads(clickhouse: ClickHouseClient, customerId: string): ClickHouseClient {
  const filters = { additional_table_filters: filtersOf(customerId) };
  const withFilters = <T extends { clickhouse_settings?: object }>(params: T): T => {
    return { ...params, clickhouse_settings: { ...params.clickhouse_settings, ...filters } };
  };
  return new Proxy(clickhouse, {
    get(target, method) {
      switch (method) {
        case 'query':
          return (params: Parameters<ClickHouseClient['query']>[0]) => target.query(withFilters(params));
        case 'command':
          return (params: Parameters<ClickHouseClient['command']>[0]) => target.command(withFilters(params));
        default:
          throw new Error(`customers read: ${String(method)} is not for them`);
      }
    },
  });
}

/** As ClickHouse reads a map: `{'table':'condition'}`. */
function filtersOf(customerId: string): string {
  const customerHex = Buffer.from(customerId).toString('hex');
  const entries = Object.entries(SHOWN_TO_CUSTOMERS).flatMap(([table, condition]) => {
    return condition === undefined ? [] : [`'${table}':'${condition(customerHex).replaceAll("'", "\\'")}'`];
  });
  return `{${entries.join(',')}}`;
}
