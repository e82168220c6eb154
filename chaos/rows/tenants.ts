import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  type DescMethod,
  fromBinary,
  ScalarType,
} from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  timestampFromMs,
} from '@bufbuild/protobuf/wkt';
import type { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { ServerReflection, ServerReflectionRequestSchema } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { fillTenant, type Tenant } from '../tenant.ts';

const LANES = 6;
const CALL_TIMEOUT_MS = 2000;
const DAY_MS = 86_400_000;
const LIST_MAX = 2;
const DEPTH_MAX = 4;

/** Whose key calls. */
interface Caller {
  readonly role: string;
  readonly key: string;
  /** Staff may see everybody: its calls show that there is something to be seen. */
  readonly isStaff: boolean;
}

export const tenants: Row = {
  name: 'tenants',
  promise:
    "No method tells one customer's key, or a host's key of one customer, anything of another customer, whatever ids it is given.",
  trials: { full: 200_000, quick: 5000 },
  tools: [],
  async run({ trials, random, site: newSite, note }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start();
    const methods = await servedMethods(meterd);
    const mine = await fillTenant(meterd, 'mine');
    const theirs = await fillTenant(meterd, 'theirs');
    const callers = await callersFor(meterd, mine);
    const usageBefore = await theirs.usage();
    const wrong: string[] = [];
    const counts = { calls: 0, foreignRows: 0, staffSaw: 0 };
    const reached = new Set<string>();
    const lane = async (): Promise<void> => {
      while (counts.calls < trials) {
        const method = random.pick(methods);
        const caller = random.pick(callers);
        // What changes things is only tried by those who may not: staff would spoil what is to be seen.
        if (caller.isStaff && !reads(method)) continue;
        counts.calls++;
        reached.add(`${method.parent.name}/${method.name} ${caller.role}`);
        const request = requestFor(method.input, { random, theirs, mine }, 1);
        const answer = await call(meterd, method, caller.key, request);
        const seen = theirs.secrets.filter(
          (secret) => answer.includes(secret) && !JSON.stringify(request).includes(secret),
        );
        if (seen.length === 0) continue;
        if (caller.isStaff) {
          counts.staffSaw++;
          continue;
        }
        counts.foreignRows++;
        wrong.push(`${method.name} told ${caller.role} ${seen.join(', ')} for ${JSON.stringify(request)}`);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    const usageAfter = await theirs.usage();
    if (usageAfter !== usageBefore) wrong.push('the usage of another customer was changed');
    note(`${methods.length} methods, ${reached.size} pairs of method and role`);
    const pairsMin = methods.length * 2;
    return {
      observed: { ...counts, methods: methods.length, pairs: reached.size },
      limit: { calls: { atLeast: trials }, foreignRows: NONE, staffSaw: { atLeast: 1 }, pairs: { atLeast: pairsMin } },
      wrong: wrong.slice(0, 10),
    };
  },
};

/** Every method that meterd says it serves: a new one is tried without a change here. */
async function servedMethods({ url }: MeterdProcess): Promise<DescMethod[]> {
  const client = clientOf(ServerReflection, url, '');
  async function* ask() {
    yield create(ServerReflectionRequestSchema, { messageRequest: { case: 'listServices', value: '' } });
  }
  const names: string[] = [];
  for await (const { messageResponse } of client.serverReflectionInfo(ask())) {
    if (messageResponse.case === 'listServicesResponse')
      names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  async function* askFiles() {
    for (const name of names) {
      yield create(ServerReflectionRequestSchema, { messageRequest: { case: 'fileContainingSymbol', value: name } });
    }
  }
  const files = new Map<string, FileDescriptorProto>();
  for await (const { messageResponse } of client.serverReflectionInfo(askFiles())) {
    if (messageResponse.case !== 'fileDescriptorResponse') continue;
    for (const bytes of messageResponse.value.fileDescriptorProto) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      files.set(file.name, file);
    }
  }
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(files) }));
  const services = names.filter((name) => !name.startsWith('grpc.')).map((name) => registry.getService(name));
  return services.flatMap((service) => service?.methods ?? []);
}

function importsFirst(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const visit = (name: string): void => {
    const file = files.get(name);
    if (file === undefined || sorted.has(file)) return;
    file.dependency.forEach(visit);
    sorted.add(file);
  };
  for (const name of files.keys()) visit(name);
  return [...sorted];
}

async function callersFor({ url, adminKey }: MeterdProcess, mine: Tenant): Promise<Caller[]> {
  const keys = clientOf(KeyService, url, adminKey);
  const customerIds = [mine.customerId];
  const customer = await keys.createKey({ name: 'mine', role: KeyRole.CUSTOMER, customerIds });
  const host = await keys.createKey({ name: 'my host', role: KeyRole.COLLECTOR, regions: ['*'], customerIds });
  const operator = await keys.createKey({ name: 'staff', role: KeyRole.OPERATOR });
  return [
    { role: 'customer', key: customer.secret, isStaff: false },
    { role: 'collector', key: host.secret, isStaff: false },
    { role: 'operator', key: operator.secret, isStaff: true },
  ];
}

function reads({ name }: DescMethod): boolean {
  return /^(Get|List)/.test(name);
}

interface Given {
  readonly random: Random;
  readonly theirs: Tenant;
  readonly mine: Tenant;
}

/** A request with somebody else's ids wherever there is room for one. */
function requestFor(message: DescMessage, given: Given, depth: number): Readonly<Record<string, unknown>> {
  const { random } = given;
  const request: Record<string, unknown> = {};
  for (const field of message.fields) {
    // Of a oneof, one; of the rest, most: a missing field is a case of its own.
    if (field.oneof !== undefined && random.pick(field.oneof.fields) !== field) continue;
    if (random.chance(120)) continue;
    const value = valueFor(field, given, depth);
    if (value !== undefined) request[field.jsonName] = value;
  }
  return request;
}

function valueFor(field: DescField, given: Given, depth: number): unknown {
  const { random } = given;
  if (field.fieldKind === 'map') return undefined;
  if (field.fieldKind === 'list') {
    return Array.from({ length: random.below(LIST_MAX + 1) }, () => singleFor(field, given, depth)).filter(
      (each) => each !== undefined,
    );
  }
  return singleFor(field, given, depth);
}

function singleFor(field: DescField, given: Given, depth: number): unknown {
  const { random, theirs, mine } = given;
  if (field.message !== undefined) {
    if (field.message.typeName === 'google.protobuf.Timestamp') return timeText(random);
    if (field.message.typeName.startsWith('google.protobuf.')) return undefined;
    return depth < DEPTH_MAX ? requestFor(field.message, given, depth + 1) : undefined;
  }
  if (field.enum !== undefined) return random.pick(field.enum.values).number;
  if (field.scalar === ScalarType.STRING) {
    // Their ids nearly always; ours where both have to be named for a call to go through.
    if (/customer/i.test(field.name)) return random.pick([theirs.customerId, theirs.customerId, mine.customerId, '']);
    return random.pick(random.chance(800) ? theirs.ids : mine.ids);
  }
  if (field.scalar === ScalarType.BOOL) return random.chance(500);
  if (field.scalar === ScalarType.BYTES) return '';
  return field.scalar === undefined ? undefined : random.below(100);
}

/** Around the days that there is something in. */
function timeText(random: Random): string {
  const { seconds } = timestampFromMs(Date.now() - random.between(-1, 45) * DAY_MS);
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 13)}:00:00Z`;
}

async function call({ url }: MeterdProcess, method: DescMethod, key: string, request: object): Promise<string> {
  const json = JSON.stringify(request);
  const isStream = method.methodKind !== 'unary';
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(json), 1);
  const response = await fetch(`${url}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': isStream ? 'application/connect+json' : 'application/json',
    },
    body: isStream ? Buffer.concat([head, Buffer.from(json)]) : json,
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS * (isStream ? 1 : 10)),
  });
  if (!isStream) return response.text();
  const reader = response.body?.getReader();
  const first = Buffer.from((await reader?.read())?.value ?? []).toString();
  await reader?.cancel();
  return first;
}
