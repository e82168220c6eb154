import {
  CALL_COLUMNS,
  TEXT_COLUMNS,
  type TextPlace,
  TextScan,
  WORD_BYTES,
  WORD_COLUMNS,
  type WindowBlock,
} from './window-block.ts';

/** The columns in the order of `nativeBlock`. */
export const WINDOW_COLUMNS = [...WORD_COLUMNS, ...TEXT_COLUMNS, ...CALL_COLUMNS] as const;
type Column = (typeof WINDOW_COLUMNS)[number];

/** Those that are not numbers of 64 bits. What the table keeps in a dictionary is sent as plain texts, which ClickHouse sorts in. */
const TYPES: Partial<Readonly<Record<Column, string>>> = {
  window_start: "DateTime64(9, 'UTC')",
  window_end: "DateTime64(9, 'UTC')",
  sampled_at: "DateTime64(9, 'UTC')",
  cpu_utilization_pct: 'Float64',
  cpu_cores_used: 'Float64',
  customer_id: 'String',
  vm_id: 'String',
  region: 'String',
  boot_id: 'String',
  instance_id: 'String',
  credential_id: 'String',
};
const HEADS = WINDOW_COLUMNS.map((column) => Buffer.concat([text(column), text(TYPES[column] ?? 'UInt64')]));
const HEAD_BYTES = HEADS.reduce((sum, head) => sum + head.length, 0);
/** What two counts take at most. */
const COUNTS_BYTES_MAX = 10;

/**
 * Several calls' windows as one block of ClickHouse's `Native` format (https://clickhouse.com/docs/interfaces/formats/Native):
 * counts of columns and rows, then every column with its name, its type and all its values. Copies whole columns; no
 * window is looked at.
 * @param memoryFor where it is written: at least so many bytes
 */
export function nativeBlock(blocks: readonly WindowBlock[], memoryFor: (bytes: number) => Buffer): Buffer {
  const calls = blocks.map(({ call, count }) => callValues(call).map((value) => ({ value, count })));
  const rows = blocks.reduce((sum, { count }) => sum + count, 0);
  const target = memoryFor(bytesOf(blocks, calls));
  let at = addCount(target, WINDOW_COLUMNS.length, 0);
  at = addCount(target, rows, at);
  HEADS.forEach((head, column) => {
    at += head.copy(target, at);
    const textColumn = column - WORD_COLUMNS.length;
    const callColumn = textColumn - TEXT_COLUMNS.length;
    for (const [i, { words, count, texts }] of blocks.entries()) {
      const values = calls[i]?.[callColumn];
      if (values !== undefined) {
        const end = at + values.value.length * values.count;
        target.fill(values.value, at, end);
        at = end;
      } else if (textColumn >= 0) at += texts[textColumn]?.copy(target, at) ?? 0;
      else at += words.copy(target, at, WORD_BYTES * count * column, WORD_BYTES * count * (column + 1));
    }
  });
  return target.subarray(0, at);
}

/** One value of each of `CALL_COLUMNS`, as its bytes. */
function callValues(call: Buffer): Buffer[] {
  const values: Buffer[] = [];
  scanCall(call, ({ start, end }) => values.push(call.subarray(start, end)));
  return values;
}

/**
 * Goes over the values of `CALL_COLUMNS`. @returns where it has come to
 * @throws RangeError where they are cut off
 */
export function scanCall(call: Buffer, onValue?: (place: TextPlace) => void): TextScan {
  const scan = new TextScan(call);
  for (const column of CALL_COLUMNS) {
    if (TYPES[column] === 'String') scan.next();
    else scan.skip(WORD_BYTES);
    onValue?.(scan);
  }
  return scan;
}

function bytesOf(
  blocks: readonly WindowBlock[],
  calls: readonly (readonly { value: Buffer; count: number }[])[],
): number {
  let bytes = COUNTS_BYTES_MAX + HEAD_BYTES;
  for (const { words, texts } of blocks) bytes += texts.reduce((sum, each) => sum + each.length, words.length);
  for (const { value, count } of calls.flat()) bytes += value.length * count;
  return bytes;
}

/** As LEB128. @returns where it ends */
function addCount(target: Buffer, count: number, start: number): number {
  let at = start;
  let rest = count;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) target[at++] = (rest % 0x80) | 0x80;
  target[at++] = rest;
  return at;
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}
