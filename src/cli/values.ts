import { readFile } from 'node:fs/promises';
import { type DescMessage, fromJsonString, type MessageShape } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { InvalidArgumentError } from 'commander';
import { messageOf } from '../lib/failure.ts';
import { BadUsage } from './session.ts';

/** For options: an instant with its offset from UTC, to the nanosecond, or a day, which starts at midnight of UTC. */
export function instant(text: string): Timestamp {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const found = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?)(?:(?<=:\d{2}:\d{2})\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(
    text,
  );
  const [, seconds = '', fraction = '', offset = ''] = found ?? [];
  const date = new Date(isDay ? text : seconds + offset);
  if ((!isDay && found === null) || Number.isNaN(date.getTime()) || !isInCalendar(text.slice(0, 10))) {
    throw new InvalidArgumentError('must be such as 2026-09-01 or 2026-09-01T10:00:00Z.');
  }
  return { ...timestampFromDate(date), nanos: Number(fraction.padEnd(9, '0')) };
}

/** JavaScript takes the 31st of June for the 1st of July. */
function isInCalendar(day: string): boolean {
  return new Date(day).toISOString().startsWith(day);
}

/** For options: a whole number from 0. */
export function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
  return Number(text);
}

/** For options that may be given several times. */
export function each(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** An instant as it is shown, and as `instant` reads it: empty where there is none. */
export function shown(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return '';
  const seconds = timestampDate({ ...timestamp, nanos: 0 })
    .toISOString()
    .replace('.000Z', '');
  const fraction = String(timestamp.nanos).padStart(9, '0');
  return `${seconds}.${fraction}Z`.replace(/(?:000)+Z$/, 'Z').replace('.Z', 'Z');
}

/** An enum's value as it is shown, e.g. `FINAL` as "final". */
export function named(values: Readonly<Record<string, number>>, value: number): string {
  const [name] = Object.entries(values).find(([, candidate]) => candidate === value) ?? [String(value)];
  return name.toLowerCase().replaceAll('_', ' ');
}

/** Reads a message from a file in JSON, as the contract spells it. @throws BadUsage where it is none */
export async function messageFromFile<D extends DescMessage>(schema: D, path: string): Promise<MessageShape<D>> {
  try {
    return fromJsonString(schema, await readFile(path, 'utf8'));
  } catch (reason) {
    throw new BadUsage(`${path}: ${messageOf(reason)}`);
  }
}

/** The enum's value of a name as it is typed, e.g. "final". @throws BadUsage which lists the names */
export function enumValue<T extends number>(values: Readonly<Record<string, T>>, text: string, option: string): T {
  const value = values[text.toUpperCase().replaceAll('-', '_')];
  if (value !== undefined && value > 0) return value;
  const names = Object.keys(values).filter((name) => name !== 'UNSPECIFIED');
  throw new BadUsage(`${option}: "${text}" is none of ${names.map((name) => name.toLowerCase()).join(', ')}`);
}
