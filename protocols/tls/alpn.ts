/** Which application protocol a server settles on. */

import { PEER_EXCHANGE } from '../../model/telemetry.ts'

/**
 * `istio-peer-exchange` where the chain takes it, for it announces a preamble; `h2` if offered and advertised, else `http/1.1` if offered, else what else is advertised and offered, else `istio` or
 * the first offered. Envoy goes on without a protocol when nothing overlaps; Node would end the handshake, hence an
 * answer in (almost) every case.
 * @returns undefined = refuse, when nothing but a protocol with a preamble is offered
 */
export function chooseAlpn(advertised: readonly string[], offered: readonly string[]): string | undefined {
  if (offered.includes(PEER_EXCHANGE) && advertised.includes(PEER_EXCHANGE)) return PEER_EXCHANGE
  if (offered.includes('h2') && advertised.includes('h2')) return 'h2'
  if (offered.includes('http/1.1')) return 'http/1.1'
  const usable = offered.filter((p) => p !== PEER_EXCHANGE)
  return advertised.find((p) => usable.includes(p)) ?? (usable.includes('istio') ? 'istio' : usable[0])
}
