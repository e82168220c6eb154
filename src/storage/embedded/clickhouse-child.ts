/**
 * The process that is the embedded ClickHouse: loads the library and runs its `clickhouse` program in it.
 *
 * It leaves, killed by its own hand, as soon as its standard input closes, so that it never outlives meterd however that
 * ended. Nothing is lost by it: ClickHouse has a finished insert in files, and clears away a half-done one when it starts.
 */
import { getPriority, setPriority } from 'node:os';
import { DataType, load, open } from 'ffi-rs';

/**
 * Behind meterd where both want the processor: an ack waits for meterd alone, and inserts and merges can wait. Threads have it from the
 * one that starts them, so it is set before the library makes any. A meterd that stands back itself keeps its ClickHouse back, too.
 */
const NICENESS = 5;

const [libraryPath, ...clickHouseArgs] = process.argv.slice(2);
if (libraryPath === undefined) throw new Error('the path of the ClickHouse library is missing');

const leave = (): void => {
  process.kill(process.pid, 'SIGKILL');
};
process.stdin.once('end', leave).once('error', leave).resume();

setPriority(Math.max(NICENESS, getPriority()));
const args = ['clickhouse', ...clickHouseArgs];
open({ library: 'clickhouse', path: libraryPath });
// `query_stable_v2(argc, argv)` returns when the program ends: in an embedded server only after an error, which the
// program has printed.
await load({
  library: 'clickhouse',
  funcName: 'query_stable_v2',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
  runInNewThread: true,
});
process.exit(1);
