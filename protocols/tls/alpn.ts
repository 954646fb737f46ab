/** Which application protocol a server settles on. */

/** Announces a preamble (Istio's TCP metadata exchange) that would reach the application as data. */
const PREAMBLE = 'istio-peer-exchange'

/**
 * `h2` if offered and advertised, else `http/1.1` if offered, else what else is advertised and offered, else `istio` or
 * the first offered. Envoy goes on without a protocol when nothing overlaps; Node would end the handshake, hence an
 * answer in (almost) every case.
 * @returns undefined = refuse, when nothing but a protocol with a preamble is offered
 */
export function chooseAlpn(advertised: readonly string[], offered: readonly string[]): string | undefined {
  if (offered.includes('h2') && advertised.includes('h2')) return 'h2'
  if (offered.includes('http/1.1')) return 'http/1.1'
  const usable = offered.filter((p) => p !== PREAMBLE)
  return advertised.find((p) => usable.includes(p)) ?? (usable.includes('istio') ? 'istio' : usable[0])
}
