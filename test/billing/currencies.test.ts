import { describe, expect, it } from 'vitest';
import { minorUnits } from '../../src/billing/currencies.ts';

describe('minor units', () => {
  it.each([
    ['USD', 2],
    ['JPY', 0],
    ['KWD', 3],
    ['CLF', 4],
    // These are the ones that Intl has otherwise.
    ['HUF', 2],
    ['IDR', 2],
    ['IQD', 3],
    ['UYW', 4],
  ])('%s has %d', (currency, digits) => {
    expect(minorUnits(currency)).toBe(digits);
  });

  it.each(['', 'usd', 'US', 'XAU', 'XXX', 'HRK', 'USD EUR', 'toString'])(
    'refuses %j and names the field',
    (currency) => {
      expect(() => minorUnits(currency, 'plan.currency')).toThrow(/^plan\.currency: .*ISO 4217/);
    },
  );

  it('knows every currency that is in common use', () => {
    const codes = 'AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD INR KRW MXN NOK NPR NZD PLN SEK SGD THB TRY TWD VND XCG ZAR';
    for (const code of codes.split(' ')) expect(minorUnits(code)).toBeLessThanOrEqual(2);
  });
});
