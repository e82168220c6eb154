import type { Decimal } from '../../../src/billing/money.ts';

/** An exact rational in lowest terms: slow and obvious, and nothing of the product's arithmetic. */
export class Rational {
  readonly top: bigint;
  readonly bottom: bigint;

  constructor(top: bigint, bottom = 1n) {
    if (bottom <= 0n) throw new Error('the denominator is not above 0');
    const divisor = greatestDivisor(top < 0n ? -top : top, bottom);
    this.top = top / divisor;
    this.bottom = bottom / divisor;
  }

  plus(other: Rational): Rational {
    return new Rational(this.top * other.bottom + other.top * this.bottom, this.bottom * other.bottom);
  }

  minus(other: Rational): Rational {
    return this.plus(new Rational(-other.top, other.bottom));
  }

  times(other: Rational): Rational {
    return new Rational(this.top * other.top, this.bottom * other.bottom);
  }

  over(other: Rational): Rational {
    const sign = other.top < 0n ? -1n : 1n;
    return new Rational(this.top * other.bottom * sign, this.bottom * other.top * sign);
  }

  isAbove(other: Rational): boolean {
    return this.minus(other).top > 0n;
  }

  /** Half to even, by long division on paper: digit by digit. */
  rounded(digits: number): Rational {
    const sign = this.top < 0n ? -1n : 1n;
    let rest = 0n;
    let whole = '';
    for (const digit of `${this.top * sign}${'0'.repeat(digits)}`) {
      rest = rest * 10n + BigInt(digit);
      let times = 0;
      for (; rest >= this.bottom; rest -= this.bottom) times++;
      whole += String(times);
    }
    const half = rest + rest === this.bottom;
    const isOdd = '13579'.includes(whole.at(-1) ?? '0');
    const up = rest + rest > this.bottom || (half && isOdd);
    return new Rational(sign * (BigInt(whole) + (up ? 1n : 0n)), BigInt(`1${'0'.repeat(digits)}`));
  }

  /** The largest whole number of 10^-digits that is not above it. */
  cut(digits: number): Rational {
    const unit = BigInt(`1${'0'.repeat(digits)}`);
    let whole = (this.top * unit) / this.bottom;
    if (whole * this.bottom > this.top * unit) whole -= 1n;
    return new Rational(whole, unit);
  }

  /** As money with its digits: 9.3 with 2 is "9.30". */
  text(digits: number): string {
    const minor = this.times(new Rational(BigInt(`1${'0'.repeat(digits)}`)));
    if (minor.bottom !== 1n) throw new Error('has more digits');
    const padded = String(minor.top < 0n ? -minor.top : minor.top).padStart(digits + 1, '0');
    const whole = padded.slice(0, padded.length - digits);
    return `${minor.top < 0n ? '-' : ''}${whole}${digits === 0 ? '' : `.${padded.slice(-digits)}`}`;
  }
}

export const ZERO = new Rational(0n);
export const HUNDRED = new Rational(100n);

export function rational({ units, scale }: Decimal): Rational {
  return new Rational(units, BigInt(`1${'0'.repeat(scale)}`));
}

export function smaller(a: Rational, b: Rational): Rational {
  return a.isAbove(b) ? b : a;
}

export function sum(all: readonly Rational[]): Rational {
  let total = ZERO;
  for (const each of all) total = total.plus(each);
  return total;
}

function greatestDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestDivisor(b, a % b);
}
