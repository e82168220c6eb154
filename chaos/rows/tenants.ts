import type { DescMethod } from '@bufbuild/protobuf';
import { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { asksForTheirs, type JsonRequest, type Named, requestFor } from '../foreign-request.ts';
import { type JsonAnswer, jsonCall } from '../json-call.ts';
import { type Context, type Finding, type Limit, NONE, type Row } from '../row.ts';
import { servedMethods } from '../served-methods.ts';
import type { Site } from '../site.ts';
import { fillTenant, lastMonth, type Tenant } from '../tenant.ts';
import { without } from '../without-checks.ts';

const LANES = 6;
/** Of all that is called: those that this row knows of, or more. */
const OPEN_METHODS_MIN = 14;
/** A meterd without one layer, and the one without any, answers one of so many of the calls. */
const CALLS_PER_LAYER_CALL = 4;
/** Of ten thousand calls so many have to tell something where no check is left: the others try what nobody may call. */
const REVEALING_PERMYRIAD_MIN = 5000;
const ENVIRONMENT = { METERD_KEY_CALLS_PER_SECOND_MAX: '1000000', METERD_INVOICE_GRACE_HOURS: '0' };

/** Of their quantities. It has no factor in common with the usual one: a sum of one customer's is none of the other's. */
const THEIR_UNIT = 61_000_000_019n;

export const tenants: Row = {
  name: 'tenants',
  promise:
    "No method tells one customer's key, or a host's key of one customer, anything of another customer, whatever ids it is given; nor where the code's check or the engines' is missing.",
  trials: { full: 200_000, quick: 2000 },
  tools: [],
  async run({ trials, seed, site: newSite, note, onClose }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start(ENVIRONMENT);
    const theirs = await fillTenant(meterd, 'theirs', THEIR_UNIT);
    const mine = await fillTenant(meterd, 'mine');
    const world = await World.of(meterd, { mine, theirs });
    const usageBefore = await theirs.usage();
    const whole = await world.call(meterd, { calls: trials, seed });
    const wrong = [...whole.wrong];
    if ((await theirs.usage()) !== usageBefore) wrong.push('the usage of another customer was changed');
    note(`all layers: ${JSON.stringify(whole.counts)}`);
    const { calls, foreignRows, taken } = whole.counts;
    const pairsMin = world.methods.length * 2;
    const limit: Record<string, Limit> = {
      calls: { atLeast: trials },
      pairs: { atLeast: pairsMin },
      openMethods: { atLeast: OPEN_METHODS_MIN },
      foreignRows: NONE,
      taken: NONE,
      foreignRowsByCode: NONE,
      foreignRowsByStorage: NONE,
      revealingPermyriad: { atLeast: REVEALING_PERMYRIAD_MIN },
    };
    const observed = { calls, methods: world.methods.length, pairs: world.pairs, openMethods: world.open.length };
    // What all layers let through, one of them lets through too.
    if (foreignRows + taken > 0) return { observed: { ...observed, foreignRows, taken }, limit, wrong };
    const layers = await callWithout(site, world, { calls: Math.ceil(trials / CALLS_PER_LAYER_CALL), seed, onClose });
    for (const [name, found] of Object.entries(layers)) note(`${name}: ${JSON.stringify(found.counts)}`);
    wrong.push(...layers.byCode.wrong, ...layers.byStorage.wrong);
    const { counts: bare } = layers.byNothing;
    return {
      observed: {
        ...observed,
        foreignRows,
        taken,
        callsByCode: layers.byCode.counts.calls,
        foreignRowsByCode: layers.byCode.counts.revealing,
        callsByStorage: layers.byStorage.counts.calls,
        foreignRowsByStorage: layers.byStorage.counts.revealing,
        revealingPermyriad: Math.floor((bare.revealing * 10_000) / bare.calls),
      },
      limit,
      wrong: wrong.slice(0, 10),
    };
  },
};

/** The same site with one layer alone, then with none: what that tells shows what there is to be told. */
async function callWithout(
  site: Site,
  world: World,
  { calls, seed, onClose }: { calls: number; seed: number; onClose: Context['onClose'] },
): Promise<Record<'byCode' | 'byStorage' | 'byNothing', Told>> {
  const layersOff = { byCode: ['storage'], byStorage: ['code'], byNothing: ['code', 'storage'] } as const;
  const tell = async (name: keyof typeof layersOff): Promise<Told> => {
    const environment = { ...ENVIRONMENT, ...without(layersOff[name]) };
    const meterd = await site.startBeside(`${site.dataDir}-${name}`, environment);
    onClose(() => site.stop(meterd));
    return world.call(meterd, { calls, seed, isStorageAlone: name === 'byStorage' });
  };
  return { byCode: await tell('byCode'), byStorage: await tell('byStorage'), byNothing: await tell('byNothing') };
}

interface Told {
  readonly counts: {
    readonly calls: number;
    /** Calls that told something of another customer. */
    readonly foreignRows: number;
    /** Calls that named another customer, or what is its, and were answered as if they might. */
    readonly taken: number;
    /** Either. */
    readonly revealing: number;
  };
  readonly wrong: readonly string[];
}

/** A list of which there was more than a page, and where its second page begins. */
interface Cursor {
  readonly method: DescMethod;
  readonly request: JsonRequest;
}

interface Call {
  readonly method: DescMethod;
  readonly role: 'customer' | 'collector';
  readonly request: JsonRequest;
}

/** Two customers, the keys of one, and all there is to be called. */
class World {
  readonly methods: readonly DescMethod[];
  /** Those that a customer's key may call. */
  readonly open: readonly DescMethod[];
  /** Those that a host's key may. */
  readonly hosts: readonly DescMethod[];
  readonly #cursors: readonly Cursor[];
  readonly #keys: Readonly<Record<Call['role'], string>>;
  readonly #mine: Tenant;
  readonly #theirs: Tenant;
  readonly #reached = new Set<string>();
  /** How many calls were made. */
  #turn = 0;

  private constructor(parts: {
    methods: readonly DescMethod[];
    open: readonly DescMethod[];
    hosts: readonly DescMethod[];
    cursors: readonly Cursor[];
    keys: Readonly<Record<Call['role'], string>>;
    mine: Tenant;
    theirs: Tenant;
  }) {
    this.methods = parts.methods;
    this.open = parts.open;
    this.hosts = parts.hosts;
    this.#cursors = parts.cursors;
    this.#keys = parts.keys;
    this.#mine = parts.mine;
    this.#theirs = parts.theirs;
  }

  static async of(meterd: MeterdProcess, tenantsOf: { mine: Tenant; theirs: Tenant }): Promise<World> {
    const { url, adminKey } = meterd;
    const methods = await servedMethods(url);
    const service = clientOf(KeyService, url, adminKey);
    const customerIds = [tenantsOf.mine.customerId];
    const customer = (await service.createKey({ name: 'mine', role: KeyRole.CUSTOMER, customerIds })).secret;
    const host = { name: 'my host', role: KeyRole.COLLECTOR, regions: ['*'], customerIds, backfill: true };
    const collector = (await service.createKey(host)).secret;
    const keys = { customer, collector };
    // One after the other: more at once than a key may have under way would be refused for that.
    const openTo = async (key: string): Promise<DescMethod[]> => {
      const found: DescMethod[] = [];
      for (const method of methods) {
        const { text } = await jsonCall(url, method, key, {});
        if (!text.includes('needs a key of role')) found.push(method);
      }
      return found;
    };
    const [open, hosts] = [await openTo(customer), await openTo(collector)];
    const cursors = await cursorsOf(meterd, methods, tenantsOf.theirs);
    return new World({ methods, open, hosts, cursors, keys, ...tenantsOf });
  }

  /** How many pairs of a method and a role were called. */
  get pairs(): number {
    return this.#reached.size;
  }

  /**
   * Calls a meterd by several at once; the same seed makes the same calls.
   * @param isStorageAlone where nobody refuses the name of another customer, but there is nothing to be seen of it. What is streamed
   * live comes from the memory of the process, where no engine could hide it: it is left out
   */
  async call(
    { url }: MeterdProcess,
    { calls, seed, isStorageAlone = false }: { calls: number; seed: number; isStorageAlone?: boolean },
  ): Promise<Told> {
    const counts = { calls: 0, foreignRows: 0, taken: 0, revealing: 0 };
    const wrong: string[] = [];
    const random = new Random(seed, 1);
    const over = new AbortController();
    // Streams are of one process: the windows of this very minute have to be sent to the one that is called.
    const live = [this.#mine, this.#theirs].map((tenant) => tenant.sendLive(url, over.signal));
    const lane = async (): Promise<void> => {
      while (counts.calls < calls) {
        const call = this.#next(random);
        if (isStorageAlone && call.method.methodKind !== 'unary') continue;
        counts.calls++;
        this.#reached.add(`${call.method.parent.typeName}/${call.method.name} ${call.role}`);
        const answer = await jsonCall(url, call.method, this.#keys[call.role], call.request);
        const [told, isTaken] = [
          this.#theirs.tells(answer.text, JSON.stringify(call.request)),
          this.#takes(call, answer, isStorageAlone),
        ];
        if (told.length > 0) counts.foreignRows++;
        if (isTaken) counts.taken++;
        if (told.length === 0 && !isTaken) continue;
        counts.revealing++;
        if (wrong.length < 10)
          wrong.push(`${call.method.name} told ${call.role} ${told.join(', ')} for ${JSON.stringify(call.request)}`);
      }
    };
    try {
      await Promise.all(Array.from({ length: LANES }, lane));
    } finally {
      over.abort();
      await Promise.all(live);
    }
    return { counts, wrong };
  }

  /** First every method by each role; then mostly what a customer may call, with ids of another, some cursors, and what a host may. */
  #next(random: Random): Call {
    const named = { random, theirs: this.#theirs, mine: this.#mine };
    const dice = random.below(100);
    const [firstTurn, secondTurn] = [this.methods[this.#turn], this.methods[this.#turn - this.methods.length]];
    this.#turn++;
    if (firstTurn !== undefined) return made(firstTurn, 'customer', named);
    if (secondTurn !== undefined) return made(secondTurn, 'collector', named);
    if (dice < 10) return { ...random.pick(this.#cursors), role: 'customer' };
    if (dice < 20) return made(random.pick(this.hosts), 'collector', named);
    if (dice < 95) return made(random.pick(this.open), 'customer', named);
    return made(random.pick(this.methods), random.pick(['customer', 'collector']), named);
  }

  #takes({ method, role, request }: Call, { isTaken }: JsonAnswer, isStorageAlone: boolean): boolean {
    const asked = asksForTheirs(method, request, this.#theirs);
    return role === 'customer' && isTaken && (asked === 'a thing' || (asked === 'the customer' && !isStorageAlone));
  }
}

function made(method: DescMethod, role: Call['role'], named: Named): Call {
  return { method, role, request: requestFor(method, named) };
}

/** Pages that staff was given, and the second of each: somebody else may have come to know where it begins. */
async function cursorsOf(
  { url, adminKey }: MeterdProcess,
  methods: readonly DescMethod[],
  theirs: Tenant,
): Promise<Cursor[]> {
  const { customerId, firstMs } = theirs;
  const range = { start: new Date(firstMs).toISOString(), end: new Date(firstMs + 10 * 86_400_000).toISOString() };
  const [invoiceId] = theirs.ids.invoice;
  const lists: Readonly<Record<string, JsonRequest>> = {
    GetCustomerUsage: { customerId, ...range, groupBy: ['USAGE_DIMENSION_VM', 'USAGE_DIMENSION_HOUR'], pageSize: 10 },
    ListGaps: { customerId, ...range, pageSize: 1 },
    ListInvoices: { period: lastMonth(), pageSize: 1 },
    ListCreditNotes: { pageSize: 1 },
    ListPayments: { invoiceId, pageSize: 1 },
  };
  const cursors: Cursor[] = [];
  for (const [name, request] of Object.entries(lists)) {
    const method = methods.find((each) => each.name === name);
    if (method === undefined) throw new Error(`meterd serves no ${name}`);
    const { text } = await jsonCall(url, method, adminKey, request);
    const { nextPageToken = '' }: { nextPageToken?: string } = JSON.parse(text);
    if (nextPageToken === '') throw new Error(`${name} has no second page: ${text.slice(0, 200)}`);
    const turned = { ...request, pageToken: nextPageToken };
    cursors.push({ method, request: turned });
    // And the same cursor in a list of one's own.
    if ('customerId' in request) cursors.push({ method, request: { ...turned, customerId: '' } });
  }
  return cursors;
}
