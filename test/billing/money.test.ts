import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addDecimals,
  addFractions,
  ceilOf,
  compareFractions,
  compareDecimals,
  type Decimal,
  decimalOfDouble,
  divideFractions,
  formatDecimal,
  type Fraction,
  fractionOf,
  minFraction,
  multiplyByDecimal,
  multiplyDecimals,
  multiplyFractions,
  negate,
  parseDecimal,
  roundHalfEven,
  roundTo38Digits,
  splitOver,
  stripZeros,
  subtractDecimals,
  subtractFractions,
} from '../../src/billing/money.ts';

const decimals = fc.record({ units: fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), scale: fc.nat(30) });
const naturals = fc.bigInt({ min: 0n, max: 10n ** 45n });
const positives = fc.bigInt({ min: 1n, max: 10n ** 20n });
const fractions = fc.record({ numerator: naturals, denominator: positives });

describe('decimals', () => {
  it.each([
    ['0', 0n, 0],
    ['93.60', 9360n, 2],
    ['-0.05', -5n, 2],
    ['007', 7n, 0],
  ])('read %s', (text, units, scale) => {
    expect(parseDecimal(text, 'price')).toEqual({ units, scale });
  });

  it.each(['', '.5', '1.', '1e3', '+1', ' 1', '1,5', '١', '--1', '1'.repeat(1001)])('refuse %j', (text) => {
    expect(() => parseDecimal(text, 'price')).toThrow(/^price: /);
  });

  it.each([
    [9360n, 2, '93.60'],
    [-5n, 2, '-0.05'],
    [5n, 0, '5'],
    [0n, 3, '0.000'],
  ])('are written with all digits of the scale', (units, scale, text) => {
    expect(formatDecimal({ units, scale })).toBe(text);
  });

  it('come back from text as they were', () => {
    fc.assert(
      fc.property(decimals, (decimal) => {
        expect(parseDecimal(formatDecimal(decimal), 'd')).toEqual(decimal);
      }),
    );
  });

  it('add up and compare like fractions', () => {
    fc.assert(
      fc.property(decimals, decimals, (a, b) => {
        const [left, right] = [asFraction(a), asFraction(b)];
        const sum = asFraction(addDecimals(a, b));
        expect(sum.numerator * left.denominator * right.denominator).toBe(
          (left.numerator * right.denominator + right.numerator * left.denominator) * sum.denominator,
        );
        const difference = left.numerator * right.denominator - right.numerator * left.denominator;
        expect(compareDecimals(a, b)).toBe(difference === 0n ? 0 : difference < 0n ? -1 : 1);
        expect(addDecimals(a, negate(a)).units).toBe(0n);
      }),
    );
  });

  it('lose nothing but zeros when stripped', () => {
    fc.assert(
      fc.property(decimals, (decimal) => {
        const stripped = stripZeros(decimal);
        expect(compareDecimals(stripped, decimal)).toBe(0);
        expect(formatDecimal(stripped)).not.toMatch(/\.\d*0$/);
      }),
    );
    expect(stripZeros({ units: 1200n, scale: 0 })).toEqual({ units: 1200n, scale: 0 });
    expect(stripZeros({ units: 0n, scale: 3 })).toEqual({ units: 0n, scale: 0 });
  });
});

describe('the decimal of a double', () => {
  it.each([
    [0.1, '0.1'],
    [0.05, '0.05'],
    [0, '0'],
    [-0, '0'],
    [1e21, '1000000000000000000000'],
    [1.5e-7, '0.00000015'],
    [1.25e22, '12500000000000000000000'],
    [123_456.789, '123456.789'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
  ])('%d is %s', (value, text) => {
    expect(formatDecimal(decimalOfDouble(value, 'price'))).toBe(text);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0.01, -1e-7])('refuses %d', (value) => {
    expect(() => decimalOfDouble(value, 'rates.cpu_per_core_hour')).toThrow(
      `rates.cpu_per_core_hour: ${value} is not a number of at least 0`,
    );
  });

  it('reads back as the same double, whatever its size', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(Number(formatDecimal(decimalOfDouble(value, 'd')))).toBe(value + 0);
      }),
    );
  });
});

describe('rounding half to even', () => {
  it.each([
    ['2.2464', 2, '2.25'],
    ['2.245', 2, '2.24'],
    ['2.255', 2, '2.26'],
    ['2.2450000000000000000001', 2, '2.25'],
    ['0.5', 0, '0'],
    ['1.5', 0, '2'],
    ['-0.5', 0, '0'],
    ['-1.5', 0, '-2'],
    ['-2.5', 0, '-2'],
    ['-2.51', 0, '-3'],
    ['7', 3, '7.000'],
  ])('%s to %d digits is %s', (value, digits, rounded) => {
    expect(formatDecimal(roundHalfEven(asFraction(parseDecimal(value, 'd')), digits))).toBe(rounded);
  });

  it('is never more than half a unit away, and even where it is exactly half', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        positives,
        fc.nat(6),
        (numerator, denominator, digits) => {
          const { units } = roundHalfEven({ numerator, denominator }, digits);
          const distance = 2n * (numerator * 10n ** BigInt(digits) - units * denominator);
          expect(distance <= denominator && -distance <= denominator).toBe(true);
          if (distance === denominator || -distance === denominator) expect(units % 2n).toBe(0n);
        },
      ),
    );
  });
});

describe('rounding to 38 digits', () => {
  it.each([
    [1n, 3n, `0.${'3'.repeat(38)}`],
    [2n, 3n, `0.${'6'.repeat(37)}7`],
    [1n, 3600n, `0.0002${'7'.repeat(36)}8`],
    [100n, 3n, `33.${'3'.repeat(36)}`],
    [10n ** 40n + 1n, 2n, `5${'0'.repeat(39)}`],
    [224_640n, 1000n, '224.64'],
    [0n, 7n, '0'],
  ])('%d / %d', (numerator, denominator, text) => {
    expect(formatDecimal(roundTo38Digits({ numerator, denominator }))).toBe(text);
  });

  it('is exact where the number ends, and else right to 38 digits', () => {
    fc.assert(
      fc.property(fractions, (fraction) => {
        const rounded = roundTo38Digits(fraction);
        expect(rounded).toEqual(stripZeros(slowly38(fraction)));
      }),
    );
  });
});

describe('a split', () => {
  it('adds up to the rounded whole to the last digit, no part a unit or more off', () => {
    fc.assert(
      fc.property(fc.array(naturals, { maxLength: 8 }), positives, (shares, denominator) => {
        const numerator = shares.reduce((sum, share) => sum + share, 0n);
        const parts = splitOver({ numerator, denominator }, shares);
        const sum = parts.reduce((total, part) => addDecimals(total, part), { units: 0n, scale: 0 });
        expect(compareDecimals(sum, roundTo38Digits({ numerator, denominator }))).toBe(0);
        const scale = slowly38({ numerator, denominator }).scale;
        for (const [index, share] of shares.entries()) {
          const units = (parts[index]?.units ?? -1n) * 10n ** BigInt(scale - (parts[index]?.scale ?? 0));
          const off = units * denominator - share * 10n ** BigInt(scale);
          expect(off < denominator && -off < denominator).toBe(true);
        }
      }),
    );
  });

  it('gives what rounding leaves to the one that lost most', () => {
    expect(splitOver({ numerator: 9n, denominator: 9n }, [1n, 8n]).map(formatDecimal)).toEqual([
      `0.${'1'.repeat(37)}`,
      `0.${'8'.repeat(36)}9`,
    ]);
  });
});

describe('a fraction times a decimal', () => {
  it('is exact', () => {
    const product = multiplyByDecimal({ numerator: 1n, denominator: 3n }, { units: 15n, scale: 1 });
    expect(product.numerator * 2n).toBe(product.denominator);
  });
});

function asFraction({ units, scale }: Decimal): Fraction {
  return { numerator: units, denominator: 10n ** BigInt(scale) };
}

/** 38 digits by long division, one digit after the other. */
function slowly38({ numerator, denominator }: Fraction): Decimal {
  const digits = (numerator / denominator).toString().replace(/^0$/, '').split('');
  let rest = numerator % denominator;
  let scale = 0;
  if (numerator === 0n) return { units: 0n, scale };
  while (digits.length < 38) {
    rest *= 10n;
    const digit = rest / denominator;
    rest %= denominator;
    scale++;
    if (digits.length > 0 || digit > 0n) digits.push(digit.toString());
  }
  let units = BigInt(digits.join('') || '0');
  if (rest * 2n > denominator || (rest * 2n === denominator && units % 2n === 1n)) units++;
  return { units, scale };
}

describe('fractions', () => {
  const [half, third] = [
    { numerator: 2n, denominator: 4n },
    { numerator: 1n, denominator: 3n },
  ];

  it.each<[string, Fraction, bigint, bigint]>([
    ['add', addFractions(half, third), 5n, 6n],
    ['add over the same denominator', addFractions(third, third), 2n, 3n],
    ['subtract', subtractFractions(third, half), -1n, 6n],
    ['multiply', multiplyFractions(half, third), 1n, 6n],
    ['divide', divideFractions(half, third), 3n, 2n],
    ['are the smaller one', minFraction(half, third), 1n, 3n],
    ['come from decimals', fractionOf({ units: -125n, scale: 2 }), -5n, 4n],
  ])('%s', (_name, { numerator, denominator }, wantedNumerator, wantedDenominator) => {
    expect(numerator * wantedDenominator).toBe(wantedNumerator * denominator);
  });

  it('compare by their number', () => {
    expect(compareFractions(half, { numerator: 1n, denominator: 2n })).toBe(0);
    expect(compareFractions(third, half)).toBeLessThan(0);
    expect(compareFractions(half, third)).toBeGreaterThan(0);
  });

  it.each([
    [0n, 1n, 0n],
    [1n, 1000n, 1n],
    [1000n, 1000n, 1n],
    [-3n, 2n, -1n],
  ])('%d / %d are rounded up to %d', (numerator, denominator, wanted) => {
    expect(ceilOf({ numerator, denominator })).toBe(wanted);
  });

  it('decimals multiply and subtract exactly', () => {
    const [a, b] = [
      { units: 15n, scale: 1 },
      { units: -25n, scale: 2 },
    ];
    expect(formatDecimal(multiplyDecimals(a, b))).toBe('-0.375');
    expect(formatDecimal(subtractDecimals(a, b))).toBe('1.75');
  });
});
