import { describe, expect, it } from 'vitest';
import { isSpiffeId, type PeerCertificate, spiffeIdOf } from '../../src/access/peer-certificate.ts';

const GOOD: PeerCertificate = {
  subjectAltName: 'DNS:host-1.example, URI:spiffe://cloud.example/host/1, IP Address:10.0.0.1',
  isAuthority: false,
  validToMs: 1000,
  distrust: undefined,
};

describe('spiffeIdOf', () => {
  it('is the one URI', () => {
    expect(spiffeIdOf(GOOD, 999)).toBe('spiffe://cloud.example/host/1');
  });

  it.each<[string, Partial<PeerCertificate>, RegExp]>([
    ['is over', { validToMs: 999 }, /ended at 1970-01-01T00:00:00.999Z/],
    ['is not trusted', { distrust: 'CERT_HAS_EXPIRED' }, /not trusted: CERT_HAS_EXPIRED/],
    ['signs others', { isAuthority: true }, /signs others/],
    ['has no URI', { subjectAltName: 'DNS:spiffe://cloud.example/host/1' }, /has 0 URIs/],
    ['has two', { subjectAltName: 'URI:spiffe://a.example/x, URI:https://b.example' }, /has 2 URIs/],
    ['hides one in a name', { subjectAltName: 'DNS:"x, URI:spiffe://cloud.example/host/1"' }, /cannot be read/],
    ['has another kind of URI', { subjectAltName: 'URI:https://cloud.example/host/1' }, /no SPIFFE id/],
  ])('refuses one that %s', (_, changes, message) => {
    expect(() => spiffeIdOf({ ...GOOD, ...changes }, 999)).toThrow(message);
  });
});

describe('isSpiffeId', () => {
  it('takes a trust domain and a path, and nothing else', () => {
    for (const id of ['spiffe://a/b', 'spiffe://a.b-c_d/E/f.g/h_i-1']) expect([id, isSpiffeId(id)]).toEqual([id, true]);
    const bad = ['spiffe://a', 'spiffe://a/', 'spiffe://A/b', 'spiffe://a//b', 'spiffe://a/b/', 'spiffe://a/../b'];
    const worse = [
      'spiffe://a/b?c',
      'spiffe://a:1/b',
      'https://a/b',
      'spiffe://a/%41',
      `spiffe://a/${'b'.repeat(2048)}`,
      '',
    ];
    for (const id of [...bad, ...worse]) expect([id, isSpiffeId(id)]).toEqual([id, false]);
  });
});
