import { CallerFault } from '../lib/failure.ts';

/**
 * ISO 4217: every active currency by the number of digits of its minor unit. A table of our own, since the one in
 * JavaScript's `Intl` says how prices are commonly shown, which for HUF, IDR, IQD and others is not what the norm says.
 */
const CODES_BY_DIGITS: readonly (readonly [digits: number, codes: string])[] = [
  [0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'],
  [
    2,
    `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP
     COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
     JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN
     NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
     THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG`,
  ],
  [3, 'BHD IQD JOD KWD LYD OMR TND'],
  [4, 'CLF UYW'],
];

const MINOR_UNITS: ReadonlyMap<string, number> = new Map(
  CODES_BY_DIGITS.flatMap(([digits, codes]) => codes.split(/\s+/).map((code) => [code, digits] as const)),
);

/**
 * How many digits an amount in this currency has behind the point.
 * @param field the field of the request that the code came in
 * @throws CallerFault where it is no active currency of ISO 4217
 */
export function minorUnits(currency: string, field = 'currency'): number {
  const digits = MINOR_UNITS.get(currency);
  if (digits === undefined) {
    const shown = JSON.stringify(currency.slice(0, 20));
    throw new CallerFault(
      'invalid_argument',
      field,
      `${field}: ${shown} is no active currency of ISO 4217, e.g. "USD"`,
    );
  }
  return digits;
}
